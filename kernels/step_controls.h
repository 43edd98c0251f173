// SPDX-License-Identifier: Apache-2.0
// What the optimizer does with a step, decided where the step's sums are: a GPU need not wait for
// the host between backward and update, and the host may read the numbers later. Of the sums of all
// ranks, in f64 and in this order:
//   unscale   = normalizer / (scale x max(1, targets)), times a gradient: that of the mean loss
//   grad norm = sqrt(norm sum) x unscale
//   clip      = min(1, grad_clip / (grad norm + 1e-6)), as torch.nn.utils.clip_grad_norm_; 1
//   without apply     = loss sum and norm sum are finite
// and the loss scale of the next step (Micikevicius et al., arXiv:1710.03740), f32 in f64:
//   pytorch   (torch.cuda.amp.GradScaler) a step that is not applied halves the scale; after
//             growth_interval applied ones in a row it doubles. No minimum.
//   megatron  (DynamicGradScaler) a step that is not applied lowers hysteresis; once that is used
//             up each of them halves the scale, not below min; growing refills hysteresis.
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
enum StepCount : int { kTargets, kSaveWishes, kStopWishes, kExtraRounds, kNumStepCounts };
inline constexpr int64_t kStepStatistics = kNumStepSums * ExactSum::kWords + kNumStepCounts;

// Indices into `numbers` (kNumStepNumbers) f64: first the controls of adamw_update(), then what
// else is known of the step. kUpdates to kHysteresis stay from step to step.
enum StepNumber : int {
  kUpdates = kNumControls,  // applied so far, this step included
  kScale,                   // of the next step's loss
  kSequenceTargets,         // balance losses': a sequence's mean; the host writes it
  kGrowthTracker,           // applied steps in a row
  kHysteresis,              // megatron's: overflows left until the scale falls
  kLossScale,               // of this step's loss
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

// How the loss scale moves; without dynamic it stays.
struct LossScaleRules {
  bool dynamic = false;
  bool megatron = false;
  int64_t growth_interval = 2000;
  int64_t hysteresis = 1;
  double min = 0;  // megatron's
};

struct StepRules {
  double normalizer = 1;
  double grad_clip = 0;  // 0: none
  int64_t updates_known = 0;
  LossScaleRules loss_scale{};
};

// Writes all of `numbers`; reads what stays there: kUpdates is updates_known + the row that is
// chosen, kScale the scale that the step was computed with.
void step_controls(Stream& stream, const StepRules& rules, const Tensor& statistics,
                   const Tensor& choices, const Tensor& numbers);

}  // namespace tessera
