// SPDX-License-Identifier: Apache-2.0
// RMSNorm with a weight per column (kernels/norm.h).
#pragma once

#include "trainer/model/layer.h"

namespace tessera {

class RmsNorm : public Layer {
 public:
  RmsNorm(LayerContext context, std::string name, int64_t width, double epsilon);
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;  // (T, H) -> (T, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override { return {weight_}; }
  // What forward() returned, made again from what the tape remembers: the same bits.
  Tensor output(Tape& tape) const;

 private:
  LayerContext context_;
  Stack weight_;  // (1, H)
  double epsilon_;
};

}  // namespace tessera
