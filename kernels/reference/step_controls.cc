// SPDX-License-Identifier: Apache-2.0
#include "kernels/step_controls.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/check.h"

namespace tessera::reference {

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
  const double unscale = rules.normalizer / (rules.scale * targets);
  const double norm = std::sqrt(sums[kNormSum].round()) * unscale;
  const double clip = rules.grad_clip > 0 ? std::min(1.0, rules.grad_clip / (norm + 1e-6)) : 1.0;
  number[kApply] = apply ? 1 : 0;
  number[kGradScale] = apply ? unscale * clip : 0;
  number[kLearningRate] = choice[kChoiceLearningRate];
  number[kCorrection1] = choice[kChoiceCorrection1];
  number[kCorrection2] = choice[kChoiceCorrection2];
  number[kUpdates] += number[kApply];
  number[kGradNorm] = norm;
  number[kGradUnscale] = unscale;
  number[kLoss] = sums[kLossSum].round();
  number[kMtpLoss] = sums[kMtpLossSum].round();
  for (int i = 0; i < kNumStepCounts; ++i) number[kCounts + i] = static_cast<double>(words[i]);
}

}  // namespace tessera::reference
