// SPDX-License-Identifier: Apache-2.0
// Muon (Jordan et al., 2024; Liu et al., arXiv:2502.16982) as a second optimizer, for tests alone:
// it wants whole matrices on one rank (ZeroSharding::whole_stacks) and keeps one tensor of each
// parameter, in a checkpoint "momentum_buffer". It runs on host devices.
#pragma once

#include <vector>

#include "trainer/optim/optimizer.h"

namespace tessera::test {

// Five Newton-Schulz steps on a matrix of `rows` rows, after which its singular values lie near 1.
std::vector<double> orthogonalized(std::vector<double> matrix, int64_t rows);

// Momentum 0.95 with Nesterov's look ahead; updates have the size that AdamW's have.
class Muon : public Optimizer {
 public:
  // After store.allocate(); attaches its state.
  Muon(ParameterStore& store, double weight_decay);
  std::array<double, kNumChoices> choice(double learning_rate, int64_t update) const override;
  void step(Stream& stream, const Tensor& controls) override;

 private:
  ParameterStore& store_;
  double weight_decay_;
  int momentum_;  // number of the store's state
};

}  // namespace tessera::test
