// SPDX-License-Identifier: Apache-2.0
// AdamW over the pieces of a ParameterStore that this rank trains. Its arithmetic is
// kernels/update.h; it is told the learning rate, clipping and loss scale, and owns none of them.
#pragma once

#include "kernels/update.h"
#include "trainer/model/parameter.h"
#include "trainer/recipe.h"

namespace tessera {

// What changes from step to step.
struct UpdateScalars {
  bool apply = true;
  double grad_scale = 1;  // unscaling x normalisation x clipping
  double learning_rate = 0;
  int64_t update = 1;  // Adam's t, from 1
};

class Optimizer {
 public:
  // After store.allocate(); the store outlives the optimizer.
  Optimizer(const OptimizerOptions& options, const ParameterStore& store);
  void step(Stream& stream, const UpdateScalars& scalars);

 private:
  OptimizerOptions options_;
  const ParameterStore& store_;
};

}  // namespace tessera
