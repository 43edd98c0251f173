// SPDX-License-Identifier: Apache-2.0
// Forget on the way up, redo on the way down (Chen et al., arXiv:1604.06174): of the layers inside,
// only the input is kept; backward runs their forward pass once more, which gives the same bits.
#pragma once

#include <memory>

#include "trainer/model/layer.h"

namespace tessera {

class Recompute : public Layer {
 public:
  explicit Recompute(std::vector<std::unique_ptr<Layer>> inner) : inner_(std::move(inner)) {}
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override;

 private:
  std::vector<std::unique_ptr<Layer>> inner_;
};

}  // namespace tessera
