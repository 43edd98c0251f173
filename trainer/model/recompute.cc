// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/recompute.h"

namespace tessera {
namespace {

struct Saved {
  Tensor x;
  const Micro* micro = nullptr;  // outlives the tape
};

}  // namespace

Tensor Recompute::forward(const Tensor& x, const Micro& micro, Pass pass) {
  if (pass.tape) pass.tape->frame<Saved>(this) = {.x = x, .micro = &micro};
  Tensor y = x;
  for (const auto& layer : inner_) y = layer->forward(y, micro, pass.without_tape());
  return y;
}

Tensor Recompute::backward_input(const Tensor& dy, Tape& tape) {
  const Saved saved = tape.frame<Saved>(this);
  tape.release(this);
  Tensor y = saved.x;
  for (const auto& layer : inner_) y = layer->forward(y, *saved.micro, &tape);
  Tensor dx = dy;
  for (size_t i = inner_.size(); i-- > 0;) dx = inner_[i]->backward_input(dx, tape);
  return dx;
}

void Recompute::backward_weight(Tape& tape) {
  for (size_t i = inner_.size(); i-- > 0;) inner_[i]->backward_weight(tape);
}

std::vector<Stack> Recompute::weights() const {
  std::vector<Stack> all;
  for (const auto& layer : inner_)
    for (const Stack& weight : layer->weights()) all.push_back(weight);
  return all;
}

}  // namespace tessera
