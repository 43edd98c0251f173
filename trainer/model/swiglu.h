// SPDX-License-Identifier: Apache-2.0
// Feed-forward network with SwiGLU (arXiv:2002.05202): W_down(silu(W_gate x) * (W_up x)).
#pragma once

#include "trainer/model/linear.h"

namespace tessera {

class SwiGlu : public Layer {
 public:
  // prefix: "model.layers.3.mlp."; deviations of gate and up, and of down.
  SwiGlu(LayerContext context, const std::string& prefix, int64_t hidden_size, int64_t width,
         double deviation, double down_deviation);
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;  // (T, H) -> (T, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override;
  void drop_input(Tape& tape) override { gate_up_.drop_input(tape); }
  void restore_input(Tape& tape, const Tensor& x) override { gate_up_.restore_input(tape, x); }

 private:
  LayerContext context_;
  Tensor product(const Tensor& gate_up) const;  // silu(gate) * up

  int64_t width_;  // this rank's, of the tensor group
  Linear gate_up_;
  Linear down_;
};

}  // namespace tessera
