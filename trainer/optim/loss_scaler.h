// SPDX-License-Identifier: Apache-2.0
// Loss scaling for f16 gradients (Micikevicius et al., arXiv:1710.03740), and the decision whether
// a step is applied. One class for every precision: without scaling the scale is 1 for ever.
//   pytorch   (torch.cuda.amp.GradScaler) an overflow halves the scale and resets the count; after
//             growth_interval good steps in a row it doubles. No minimum.
//   megatron  (DynamicGradScaler) an overflow resets the count and lowers hysteresis; once that is
//             used up every overflow halves the scale, not below min; growing refills hysteresis.
// Not thread-safe; all ranks hold equal scalers, because all see the same agreed flag.
#pragma once

#include <string>

#include "trainer/recipe.h"

namespace tessera {

class LossScaler {
 public:
  LossScaler(const PrecisionOptions& precision, const FailureOptions& on_failure);

  double scale() const { return scale_; }
  bool dynamic() const { return dynamic_; }
  int skipped_in_a_row() const { return skipped_in_a_row_; }
  // After a step: adapts the scale; returns whether the step may be applied. Throws Error{numeric}
  // when too many steps in a row were not finite, or at once when on_failure.non_finite is stop and
  // scaling is off; `culprit` names the first bad tensor for that message.
  bool update(bool finite, int64_t step, const std::string& culprit);

  std::string state() const;  // for the checkpoint
  void restore(const std::string& state);

 private:
  void overflow();
  void good_step();

  LossScalingOptions options_;
  FailureOptions on_failure_;
  bool dynamic_;
  float scale_;  // f32, as PyTorch keeps it
  int64_t growth_tracker_ = 0;
  int64_t hysteresis_;
  int skipped_in_a_row_ = 0;
};

}  // namespace tessera
