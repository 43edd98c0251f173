// SPDX-License-Identifier: Apache-2.0
// y = x W^T without bias; W is one parameter or a stack of them used as one matrix (Hugging Face's
// layout: (out, in), row-major).
#pragma once

#include "kernels/gemm.h"
#include "trainer/model/layer.h"

namespace tessera {

class Linear : public Layer {
 public:
  Linear(LayerContext context, std::vector<Parameter> members)
      : context_(context), weight_(context.store.add(std::move(members))) {}

  Tensor forward(const Tensor& x, const Micro& micro, Tape* tape) override;  // (T, in) -> (T, out)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;              // (T, out) -> (T, in)
  void backward_weight(Tape& tape) override;
  std::vector<int> parameters() const override;

 private:
  LayerContext context_;
  Stack weight_;  // (out, in)
};

// New memory for op(a) op(b), of a's type.
Tensor matmul(Stream& stream, const Tensor& a, const Tensor& b, bool transpose_b = false);

// The declaration of a (rows, columns) weight, drawn from normal(0, deviation).
Parameter matrix(std::string name, int64_t rows, int64_t columns, double deviation);

}  // namespace tessera
