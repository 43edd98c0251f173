// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/block.h"

#include "kernels/elementwise.h"

namespace tessera {

Tensor ResidualBranch::forward(const Tensor& x, const Micro& micro, Pass pass) {
  const trace::Range traced = range();
  const Tensor branch = inner_->forward(norm_->forward(x, micro, pass), micro, pass);
  if (pass.tape && context_.selective_recompute) inner_->drop_input(*pass.tape);
  add(context_.stream, x, branch, branch);
  return branch;
}

Tensor ResidualBranch::backward_input(const Tensor& dy, Tape& tape) {
  const trace::Range traced = range();
  // Here and not with the weights' half: ZeRO-3 has the norm's weight at hand now.
  if (context_.selective_recompute) inner_->restore_input(tape, norm_->output(tape));
  const Tensor dx = norm_->backward_input(inner_->backward_input(dy, tape), tape);
  add(context_.stream, dy, dx, dx);
  return dx;
}

void ResidualBranch::backward_weight(Tape& tape) {
  const trace::Range traced = range();
  inner_->backward_weight(tape);
  norm_->backward_weight(tape);
}

std::vector<Stack> ResidualBranch::weights() const {
  std::vector<Stack> all = norm_->weights();
  for (const Stack& weight : inner_->weights()) all.push_back(weight);
  return all;
}

}  // namespace tessera
