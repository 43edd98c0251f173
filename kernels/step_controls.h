// SPDX-License-Identifier: Apache-2.0
// What the optimizer does with a step, decided where the step's sums are: a GPU need not wait for
// the host between backward and update, and the host may read the numbers later. Of the sums of all
// ranks, in f64 and in this order:
//   unscale   = normalizer / (scale x max(1, targets)), times a gradient: that of the mean loss
//   grad norm = sqrt(norm sum) x unscale
//   clip      = min(1, grad_clip / (grad norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1
//   without apply     = loss sum and norm sum are finite
// Every device gives the same bits (docs/numerics.md).
#pragma once

#include "kernels/base/exact_sum.h"
#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "kernels/update.h"

namespace tessera {

// What all ranks sum, as whole numbers: `statistics` (kStepStatistics) i64 are kNumStepSums exact
// sums of kWords each (kernels/reduce.h), then kNumStepCounts plain numbers.
enum StepSum : int { kLossSum, kNormSum, kMtpLossSum, kNumStepSums };
enum StepCount : int { kTargets, kSaveWishes, kStopWishes, kNumStepCounts };
inline constexpr int64_t kStepStatistics = kNumStepSums * ExactSum::kWords + kNumStepCounts;

// Indices into `numbers` (kNumStepNumbers) f64: first the controls of adamw_update(), then what
// else is known of the step. kUpdates stays from step to step.
enum StepNumber : int {
  kUpdates = kNumControls,  // applied so far, this step included
  kGradNorm,                // before clipping, unscaled
  kGradUnscale,
  kLoss,     // the sum over targets
  kMtpLoss,  // the same of multi-token prediction
  kCounts,   // kNumStepCounts of them
  kNumStepNumbers = kCounts + kNumStepCounts
};

// Columns of `choices` (n, kNumChoices) f64: what the update has that follows updates_known + row
// updates. The host makes a row for every number of updates that the steps under way may come to.
enum Choice : int { kChoiceLearningRate, kChoiceCorrection1, kChoiceCorrection2, kNumChoices };

struct StepRules {
  double normalizer = 1;
  double scale = 1;
  double grad_clip = 0;  // 0: none
  int64_t updates_known = 0;
};

// Writes all of `numbers`; reads its kUpdates, which is updates_known + the row that is chosen.
void step_controls(Stream& stream, const StepRules& rules, const Tensor& statistics,
                   const Tensor& choices, const Tensor& numbers);

}  // namespace tessera
