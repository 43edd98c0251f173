// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/optimizer.h"

#include <cmath>

namespace tessera {

Optimizer::Optimizer(const OptimizerOptions& options, const ParameterStore& store)
    : options_(options) {
  // Padding between the parameters of a run is updated too: zero gradients keep it zero.
  for (const Parameter& parameter : store.all()) {
    const FlatRange& range = parameter.range;
    if (runs_.empty() || runs_.back().decay != parameter.decay)
      runs_.push_back({range, parameter.decay});
    else
      runs_.back().range.count = range.first + range.count - runs_.back().range.first;
  }
}

void Optimizer::step(Stream& stream, const ParameterStore& store, const UpdateScalars& scalars) {
  const Tensor controls(stream.device(), DType::f64, {kNumControls});
  auto* control = controls.as<double>();
  const auto t = static_cast<double>(scalars.update);
  control[kApply] = scalars.apply ? 1 : 0;
  control[kGradScale] = scalars.grad_scale;
  control[kLearningRate] = scalars.learning_rate;
  control[kCorrection1] = 1 - std::pow(options_.betas[0], t);
  control[kCorrection2] = 1 - std::pow(options_.betas[1], t);
  for (const Run& run : runs_) {
    const AdamW adamw{.beta1 = options_.betas[0],
                      .beta2 = options_.betas[1],
                      .epsilon = options_.eps,
                      .weight_decay = run.decay ? options_.weight_decay : 0};
    const auto part = [&](const Tensor& flat) {
      return flat.column_slice(run.range.first, run.range.count);
    };
    adamw_update(stream, adamw, controls, part(store.grads()), part(store.masters()),
                 part(store.first_moments()), part(store.second_moments()), part(store.values()));
  }
}

}  // namespace tessera
