// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/optimizer.h"

#include <cmath>

namespace tessera {

Optimizer::Optimizer(const OptimizerOptions& options, const ParameterStore& store)
    : options_(options), store_(store) {
  for (const Piece& piece : store.pieces()) {
    if (runs_.empty() || !follows(runs_.back(), piece))
      runs_.push_back({piece, store.at(piece.parameter).decay});
    Piece& run = runs_.back().pieces;
    run.whole.count = piece.whole.first + piece.whole.count - run.whole.first;
    run.mine.count = piece.mine.first + piece.mine.count - run.mine.first;
    run.rows = 1;
    run.columns = run.mine.count;
  }
}

// In the buffers of all rows and in those of mine. Without ZeRO nothing but padding, which stays
// zero, lies between neighbours; with it, other ranks' rows may.
bool Optimizer::follows(const Run& run, const Piece& piece) const {
  const auto gap = [](const FlatRange& one, const FlatRange& next) {
    return next.first - one.first - one.count;
  };
  const int64_t between = gap(run.pieces.mine, piece.mine);
  return run.decay == store_.at(piece.parameter).decay &&
         between == gap(run.pieces.whole, piece.whole) &&
         (between == 0 || store_.zero().stage == 0);
}

std::array<double, kNumChoices> Optimizer::choice(double learning_rate, int64_t update) const {
  const auto t = static_cast<double>(update);
  return {learning_rate, 1 - std::pow(options_.betas[0], t), 1 - std::pow(options_.betas[1], t)};
}

void Optimizer::step(Stream& stream, const Tensor& controls) {
  for (const auto& [run, decay] : runs_) {
    const AdamW adamw{.beta1 = options_.betas[0],
                      .beta2 = options_.betas[1],
                      .epsilon = options_.eps,
                      .weight_decay = decay ? options_.weight_decay : 0};
    adamw_update(stream, adamw, controls, store_.grad(run).flat(), store_.master(run).flat(),
                 store_.first_moment(run).flat(), store_.second_moment(run).flat(),
                 store_.value(run).flat());
  }
}

}  // namespace tessera
