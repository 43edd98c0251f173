// SPDX-License-Identifier: Apache-2.0
// AdamW over the pieces of a ParameterStore that this rank trains, all of them in one call. Its
// arithmetic is kernels/update.h; it is told the learning rate, clipping and loss scale, on the
// device, and owns none of them.
#pragma once

#include <array>
#include <vector>

#include "kernels/step_controls.h"
#include "kernels/update.h"
#include "trainer/model/parameter.h"
#include "trainer/recipe.h"

namespace tessera {

class Optimizer {
 public:
  // After store.allocate(), whose tensors it keeps.
  Optimizer(const OptimizerOptions& options, const ParameterStore& store);
  // What update number `update` has, from 1: a row of step_controls()'s choices.
  std::array<double, kNumChoices> choice(double learning_rate, int64_t update) const;
  // controls: adamw_update()'s, on the stream's device.
  void step(Stream& stream, const Tensor& controls) const;

 private:
  OptimizerOptions options_;
  std::vector<AdamWPart> parts_;
};

}  // namespace tessera
