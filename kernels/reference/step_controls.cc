// SPDX-License-Identifier: Apache-2.0
#include "kernels/step_controls.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/check.h"

namespace tessera::reference {
namespace {

void move_scale(const LossScaleRules& rules, bool applied, double* number) {
  if (!rules.dynamic) return;
  const auto scale = static_cast<float>(number[kScale]);
  if (applied) {
    number[kGrowthTracker] += 1;
    if (number[kGrowthTracker] < static_cast<double>(rules.growth_interval)) return;
    number[kGrowthTracker] = 0;
    number[kHysteresis] = static_cast<double>(rules.hysteresis);
    if (std::isfinite(scale * 2)) number[kScale] = scale * 2;
    return;
  }
  number[kGrowthTracker] = 0;
  if (!rules.megatron) {
    number[kScale] = scale / 2;
    return;
  }
  number[kHysteresis] -= 1;
  if (number[kHysteresis] <= 0) number[kScale] = std::max(scale / 2, static_cast<float>(rules.min));
}

}  // namespace

void step_controls(Stream&, const StepRules& rules, const Tensor& statistics, const Tensor& choices,
                   const Tensor& numbers) {
  const auto* words = statistics.as<int64_t>();
  ExactSum sums[kNumStepSums];
  for (ExactSum& sum : sums) {
    std::copy_n(words, ExactSum::kWords, sum.words().begin());
    words += ExactSum::kWords;
  }
  auto* number = numbers.as<double>();
  const auto row = static_cast<int64_t>(number[kUpdates]) - rules.updates_known;
  check(row >= 0 && row < choices.rows(), "step_controls: no choice for", number[kUpdates],
        "updates");
  const double* choice = choices.row<double>(row);

  const bool apply = sums[kLossSum].finite() && sums[kNormSum].finite();
  const auto targets = static_cast<double>(std::max<int64_t>(1, words[kTargets]));
  const double unscale = rules.normalizer / (number[kScale] * targets);
  const double norm = std::sqrt(sums[kNormSum].round()) * unscale;
  const double clip = rules.grad_clip > 0 ? std::min(1.0, rules.grad_clip / (norm + 1e-6)) : 1.0;
  number[kApply] = apply ? 1 : 0;
  number[kGradScale] = apply ? unscale * clip : 0;
  number[kLearningRate] = choice[kChoiceLearningRate];
  number[kCorrection1] = choice[kChoiceCorrection1];
  number[kCorrection2] = choice[kChoiceCorrection2];
  number[kUpdates] += number[kApply];
  number[kLossScale] = number[kScale];
  number[kGradNorm] = norm;
  number[kGradUnscale] = unscale;
  number[kLoss] = sums[kLossSum].round();
  number[kMtpLoss] = sums[kMtpLossSum].round();
  for (int i = 0; i < kNumStepCounts; ++i) number[kCounts + i] = static_cast<double>(words[i]);
  move_scale(rules.loss_scale, apply, number);
}

}  // namespace tessera::reference
