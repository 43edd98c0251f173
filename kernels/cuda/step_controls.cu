// SPDX-License-Identifier: Apache-2.0
// A step's numbers by one warp: a thread rounds each exact sum, the first one does the rest. The
// operations and their order are those of kernels/reference/step_controls.cc, to the last bit: the
// one product that is added to something is kept from becoming a fused multiply-add.
#include "kernels/cuda/launch.cuh"
#include "kernels/step_controls.h"

namespace tessera::cuda {
namespace {

constexpr int kLimbs = ExactSum::kLimbs;

// ExactSum::round() of words that need not be normalized; `limbs` is room for kLimbs.
__device__ double rounded(const int64_t* words, int64_t* limbs) {
  if (words[kLimbs] != 0) return NAN;
  bool negative = false;
  for (int i = 0; i < kLimbs; ++i) limbs[i] = words[i];
  for (int pass = 0; pass < 2; ++pass) {  // a negative sum is turned round and carried again
    int64_t carry = 0;
    for (int i = 0; i + 1 < kLimbs; ++i) {
      const int64_t word = limbs[i] + carry;
      carry = word >> 32;
      limbs[i] = word & 0xffffffff;
    }
    limbs[kLimbs - 1] += carry;
    if (negative || limbs[kLimbs - 1] >= 0) break;
    negative = true;
    for (int i = 0; i < kLimbs; ++i) limbs[i] = -limbs[i];
  }
  double sum = 0;
  for (int i = kLimbs - 1; i >= 0; --i) sum += ldexp(static_cast<double>(limbs[i]), i * 32 - 1074);
  return negative ? -sum : sum;
}

__device__ void move_scale(const LossScaleRules& rules, bool applied, double* numbers) {
  if (!rules.dynamic) return;
  const auto scale = static_cast<float>(numbers[kScale]);
  if (applied) {
    numbers[kGrowthTracker] += 1;
    if (numbers[kGrowthTracker] < static_cast<double>(rules.growth_interval)) return;
    numbers[kGrowthTracker] = 0;
    numbers[kHysteresis] = static_cast<double>(rules.hysteresis);
    if (scale * 2 < INFINITY) numbers[kScale] = scale * 2;
    return;
  }
  numbers[kGrowthTracker] = 0;
  if (!rules.megatron) {
    numbers[kScale] = scale / 2;
    return;
  }
  numbers[kHysteresis] -= 1;
  if (numbers[kHysteresis] <= 0) numbers[kScale] = larger(scale / 2, static_cast<float>(rules.min));
}

__global__ void __launch_bounds__(kWarp)
    decide(StepRules rules, const int64_t* statistics, const double* choices, double* numbers) {
  auto* limbs = shared_memory<int64_t>();
  auto* sums = reinterpret_cast<double*>(limbs + kNumStepSums * kLimbs);
  const int sum = static_cast<int>(threadIdx.x);
  if (sum < kNumStepSums)
    sums[sum] = rounded(statistics + sum * ExactSum::kWords, limbs + sum * kLimbs);
  __syncthreads();
  if (sum != 0) return;

  const int64_t* counts = statistics + kNumStepSums * ExactSum::kWords;
  const int64_t row = static_cast<int64_t>(numbers[kUpdates]) - rules.updates_known;
  const double* choice = choices + row * kNumChoices;
  const bool apply = statistics[kLossSum * ExactSum::kWords + kLimbs] == 0 &&
                     statistics[kNormSum * ExactSum::kWords + kLimbs] == 0;
  const auto targets = static_cast<double>(larger<int64_t>(1, counts[kTargets]));
  const double unscale = rules.normalizer / (numbers[kScale] * targets);
  const double norm = __dmul_rn(sqrt(sums[kNormSum]), unscale);
  const double ratio = rules.grad_clip / (norm + 1e-6);
  const double clip = rules.grad_clip > 0 && ratio < 1 ? ratio : 1.0;
  numbers[kApply] = apply ? 1 : 0;
  numbers[kGradScale] = apply ? unscale * clip : 0;
  numbers[kLearningRate] = choice[kChoiceLearningRate];
  numbers[kCorrection1] = choice[kChoiceCorrection1];
  numbers[kCorrection2] = choice[kChoiceCorrection2];
  numbers[kUpdates] += apply ? 1 : 0;
  numbers[kLossScale] = numbers[kScale];
  numbers[kGradNorm] = norm;
  numbers[kGradUnscale] = unscale;
  numbers[kLoss] = sums[kLossSum];
  numbers[kMtpLoss] = sums[kMtpLossSum];
  for (int i = 0; i < kNumStepCounts; ++i) numbers[kCounts + i] = static_cast<double>(counts[i]);
  move_scale(rules.loss_scale, apply, numbers);
}

}  // namespace

void step_controls(Stream& stream, const StepRules& rules, const Tensor& statistics,
                   const Tensor& choices, const Tensor& numbers) {
  launch(stream, decide, dim3(1), dim3(kWarp),
         kNumStepSums * (kLimbs * sizeof(int64_t) + sizeof(double)), rules,
         statistics.as<int64_t>(), choices.as<double>(), numbers.as<double>());
}

}  // namespace tessera::cuda
