// SPDX-License-Identifier: Apache-2.0
// What the host knows of the loss scale, and when too many steps in a row were not applied. The
// scale itself moves on the device, by the rules given here (kernels/step_controls.h), so that the
// next step need not wait for the host. One class for every precision: without scaling the scale
// is 1 for ever. Not thread-safe; all ranks hold equal ones, because all see the same numbers.
#pragma once

#include <string>

#include "kernels/step_controls.h"
#include "trainer/recipe.h"

namespace tessera {

struct LossScaleState {  // step_controls()'s kScale and the two that follow it
  double scale = 1;      // an f32, as PyTorch keeps it
  int64_t growth_tracker = 0;
  int64_t hysteresis = 1;
};

class LossScaler {
 public:
  LossScaler(const PrecisionOptions& precision, const FailureOptions& on_failure);

  bool dynamic() const { return rules_.dynamic; }
  const LossScaleRules& rules() const { return rules_; }
  const LossScaleState& now() const { return now_; }  // after the last step that was heard of
  int skipped_in_a_row() const { return skipped_in_a_row_; }
  // A step was applied or not, and where the scale is since. Throws Error{numeric} when too many
  // steps in a row were not applied, or at once when on_failure.non_finite is stop and scaling is
  // off; `culprit` names the first bad tensor for that message.
  void hear(bool applied, const LossScaleState& after, int64_t step, const std::string& culprit);

  std::string state() const;  // for the checkpoint
  // Goes on from state(), or from precision.loss_scaling.initial where that is of a run without
  // scaling. Throws Error{checkpoint} for a text that is no state.
  void restore(const std::string& state);

 private:
  LossScaleRules rules_;
  FailureOptions on_failure_;
  LossScaleState now_;
  int skipped_in_a_row_ = 0;
};

}  // namespace tessera
