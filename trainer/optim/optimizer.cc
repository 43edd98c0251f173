// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/optimizer.h"

#include <cmath>

namespace tessera {

Optimizer::Optimizer(const OptimizerOptions& options, const ParameterStore& store)
    : options_(options) {
  for (const Piece& piece : store.pieces())
    parts_.push_back({.grad = store.grad(piece),
                      .master = store.master(piece),
                      .m = store.first_moment(piece),
                      .v = store.second_moment(piece),
                      .compute = store.value(piece),
                      .decay = store.at(piece.parameter).decay});
}

std::array<double, kNumChoices> Optimizer::choice(double learning_rate, int64_t update) const {
  const auto t = static_cast<double>(update);
  return {learning_rate, 1 - std::pow(options_.betas[0], t), 1 - std::pow(options_.betas[1], t)};
}

void Optimizer::step(Stream& stream, const Tensor& controls) const {
  const AdamW adamw{.beta1 = options_.betas[0],
                    .beta2 = options_.betas[1],
                    .epsilon = options_.eps,
                    .weight_decay = options_.weight_decay};
  adamw_update(stream, adamw, controls, parts_);
}

}  // namespace tessera
