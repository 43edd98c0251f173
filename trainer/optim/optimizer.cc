// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/optimizer.h"

#include <cmath>
#include <vector>

#include "kernels/transfer.h"

namespace tessera {

Optimizer::Optimizer(const OptimizerOptions& options, const ParameterStore& store)
    : options_(options), store_(store) {}

void Optimizer::step(Stream& stream, const UpdateScalars& scalars) {
  std::vector<double> control(kNumControls);
  const auto t = static_cast<double>(scalars.update);
  control[kApply] = scalars.apply ? 1 : 0;
  control[kGradScale] = scalars.grad_scale;
  control[kLearningRate] = scalars.learning_rate;
  control[kCorrection1] = 1 - std::pow(options_.betas[0], t);
  control[kCorrection2] = 1 - std::pow(options_.betas[1], t);
  const Tensor controls = uploaded(stream, control);
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
