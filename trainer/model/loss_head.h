// SPDX-License-Identifier: Apache-2.0
// The last layer: logits = x W^T, cross-entropy against the targets, and both gradients, made chunk
// of rows after chunk of rows so that the (T, V) logits never exist whole. The one stated exception
// to the two halves of a Layer: dL/dx and dL/dW are made together in forward(), while the logits
// are at hand; backward_input() only hands out dL/dx and backward_weight() does nothing
// (docs/decisions/0005-loss-head.md).
#pragma once

#include "trainer/model/layer.h"

namespace tessera {

class LossHead : public Layer {
 public:
  // weight: (my slice of V, H), declared by the caller: its own parameter or a further use of the
  // embedding. first_class: where the slice begins.
  LossHead(LayerContext context, Stack weight, int64_t first_class);
  // (t, H) -> the loss of each of all rows, (T) f64, on every rank; 0 where the target is negative.
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;
  Tensor backward_input(const Tensor& unused, Tape& tape) override;  // -> (t, H)
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override { return {}; }
  std::vector<Stack> forward_weights() const override { return {weight_}; }
  // All rows (T, H) -> (T, my slice of V), accumulation type.
  Tensor logits(const Tensor& x) const override;

 private:
  LayerContext context_;
  Stack weight_;
  int64_t first_class_;
};

}  // namespace tessera
