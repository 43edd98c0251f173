// SPDX-License-Identifier: Apache-2.0
// y = x W^T without bias; W is one parameter or a stack of them used as one matrix (Hugging Face's
// layout: (out, in), row-major). Under tensor parallelism (Shoeybi et al., arXiv:1909.08053, 3,
// with sequence parallelism, arXiv:2205.05198, 4.2.2), t the rank's rows of T tokens:
//   replicated  W whole on every rank:          (t, in)     -> (t, out)
//   column      W's rows, out, are cut:         (t, in)     -> (T, out / ranks)
//   row         W's columns, in, are cut:       (T, in / ranks) -> (t, out)
#pragma once

#include "kernels/gemm.h"
#include "trainer/model/layer.h"

namespace tessera {

class Linear : public Layer {
 public:
  enum class Style { replicated, column, row };
  // members: already cut as `style` says, see cut_rows() and cut_columns().
  Linear(LayerContext context, Style style, std::vector<Parameter> members);

  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override { return {weight_}; }
  void drop_input(Tape& tape) override;
  void restore_input(Tape& tape, const Tensor& x) override;

 private:
  LayerContext context_;
  TensorParallel tensor_;
  Style style_;
  Stack weight_;  // (out, in)
};

// New memory for op(a) op(b), of a's type.
Tensor matmul(Stream& stream, const Tensor& a, const Tensor& b, bool transpose_b = false);

// The gradient of weight (out, in) of a product x W^T: dy^T x, to where the store keeps it.
void add_weight_gradient(const LayerContext& context, Stack weight, const Tensor& dy,
                         const Tensor& x);

// The declaration of a (rows, columns) weight, drawn from normal(0, deviation).
Parameter matrix(std::string name, int64_t rows, int64_t columns, double deviation);
// The same, cut for one rank of the tensor group.
Parameter cut_rows(Parameter whole, const TensorParallel& tensor);
Parameter cut_columns(Parameter whole, const TensorParallel& tensor);

}  // namespace tessera
