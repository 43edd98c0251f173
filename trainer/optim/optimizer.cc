// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/optimizer.h"

#include <cmath>

namespace tessera {

Optimizer::Optimizer(const OptimizerOptions& options, const ParameterStore& store)
    : options_(options), store_(store) {}

std::array<double, kNumChoices> Optimizer::choice(double learning_rate, int64_t update) const {
  const auto t = static_cast<double>(update);
  return {learning_rate, 1 - std::pow(options_.betas[0], t), 1 - std::pow(options_.betas[1], t)};
}

void Optimizer::step(Stream& stream, const Tensor& controls) {
  for (const Piece& piece : store_.pieces()) {
    const bool decay = store_.at(piece.parameter).decay;
    const AdamW adamw{.beta1 = options_.betas[0],
                      .beta2 = options_.betas[1],
                      .epsilon = options_.eps,
                      .weight_decay = decay ? options_.weight_decay : 0};
    adamw_update(stream, adamw, controls, store_.grad(piece).flat(), store_.master(piece).flat(),
                 store_.first_moment(piece).flat(), store_.second_moment(piece).flat(),
                 store_.value(piece).flat());
  }
}

}  // namespace tessera
