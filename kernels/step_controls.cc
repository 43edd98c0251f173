// SPDX-License-Identifier: Apache-2.0
#include "kernels/step_controls.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void step_controls(Stream& stream, const StepRules& rules, const Tensor& statistics,
                   const Tensor& choices, const Tensor& numbers) {
  const Arguments arguments(stream, "step_controls:");
  arguments.on_device({{"statistics", statistics}, {"choices", choices}, {"numbers", numbers}});
  arguments.vector({"statistics", statistics}, kStepStatistics);
  arguments.of_type({"statistics", statistics}, DType::i64);
  arguments.matrix({"choices", choices}, choices.rows(), kNumChoices);
  arguments.of_type({"choices", choices}, DType::f64);
  arguments.vector({"choices", choices}, choices.rows() * kNumChoices);
  arguments.vector({"numbers", numbers}, kNumStepNumbers);
  arguments.of_type({"numbers", numbers}, DType::f64);
  arguments.holds(rules.grad_clip >= 0, "no negative limit");
  stream.backend().step_controls(stream, rules, statistics, choices, numbers);
}

}  // namespace tessera
