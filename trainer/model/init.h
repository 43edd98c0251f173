// SPDX-License-Identifier: Apache-2.0
// Standard deviations of initial weights.
#pragma once

#include <cmath>

#include "trainer/model/options.h"

namespace tessera {

// Of the projections that add to the residual stream: smaller, so that its variance does not grow
// with depth (GPT-2, "Language models are unsupervised multitask learners", 2.3).
inline double residual_deviation(const ModelOptions& model) {
  if (!model.scale_residual_init) return model.initializer_range;
  return model.initializer_range / std::sqrt(2.0 * static_cast<double>(model.num_hidden_layers));
}

}  // namespace tessera
