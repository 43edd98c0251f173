// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/block.h"

#include "kernels/elementwise.h"

namespace tessera {

Tensor ResidualBranch::forward(const Tensor& x, const Micro& micro, Tape* tape) {
  const Tensor branch = inner_->forward(norm_->forward(x, micro, tape), micro, tape);
  add(context_.stream, x, branch, branch);
  return branch;
}

Tensor ResidualBranch::backward_input(const Tensor& dy, Tape& tape) {
  const Tensor dx = norm_->backward_input(inner_->backward_input(dy, tape), tape);
  add(context_.stream, dy, dx, dx);
  return dx;
}

void ResidualBranch::backward_weight(Tape& tape) {
  inner_->backward_weight(tape);
  norm_->backward_weight(tape);
}

std::vector<int> ResidualBranch::parameters() const {
  std::vector<int> all = norm_->parameters();
  for (const int parameter : inner_->parameters()) all.push_back(parameter);
  return all;
}

}  // namespace tessera
