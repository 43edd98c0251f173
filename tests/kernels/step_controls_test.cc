// SPDX-License-Identifier: Apache-2.0
// The numbers of a step, against what the host computes from the same sums.
#include "kernels/step_controls.h"

#include <limits>

#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

struct Step {
  std::vector<double> loss, squares, mtp;  // the terms of the sums
  int64_t targets = 0;
};

Tensor statistics_of(const Step& step, Device device) {
  const Tensor out(device, DType::i64, {kStepStatistics});
  auto* words = out.as<int64_t>();
  for (const auto* terms : {&step.loss, &step.squares, &step.mtp}) {
    ExactSum sum;
    for (const double term : *terms) sum.add(term);
    words = std::copy(sum.words().begin(), sum.words().end(), words);
  }
  words[kTargets] = step.targets;
  words[kSaveWishes] = 0;
  words[kStopWishes] = 3;
  words[kExtraRounds] = 5;
  return out;
}

const std::vector<double> kChoices = {0.25, 0.1, 0.01, 0.5, 0.19, 0.02};

std::vector<double> numbers_of(Stream& stream, const Step& step, const StepRules& rules,
                               double updates, double scale = 1) {
  const Tensor choices(stream.device(), DType::f64, {2, kNumChoices});
  std::copy(kChoices.begin(), kChoices.end(), choices.as<double>());
  const Tensor numbers(stream.device(), DType::f64, {kNumStepNumbers});
  std::fill_n(numbers.as<double>(), int{kNumStepNumbers}, -7.0);
  numbers.as<double>()[kUpdates] = updates;
  numbers.as<double>()[kScale] = scale;
  step_controls(stream, rules, statistics_of(step, stream.device()), choices, numbers);
  return values_of(numbers);
}

// Terms of many sizes, some of them negative, that cancel in parts.
Step mixed(uint64_t seed, int count) {
  const Tensor draws = normal(DType::f32, 3, count, seed);
  Step step{.loss = {}, .squares = {}, .mtp = {}, .targets = 1000 + static_cast<int64_t>(seed)};
  for (int i = 0; i < count; ++i) {
    const auto draw = [&](int64_t row) { return draws.row<double>(row)[i]; };
    step.loss.push_back(std::ldexp(draw(0), i % 90 - 45));
    step.squares.push_back(std::ldexp(draw(1) * draw(1), i % 300 - 200));
    step.mtp.push_back(-std::abs(draw(2)));
  }
  return step;
}

double exactly(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.add(term);
  return sum.round();
}

TEST(StepControls, AreWhatTheHostComputesToTheLastBit) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Step step = mixed(seed, static_cast<int>(3 + 17 * seed));
    const StepRules rules = {.normalizer = 64, .grad_clip = 1e-3 * static_cast<double>(seed % 4)};
    const double unscale = 64 / (8 * static_cast<double>(step.targets));
    const double norm = std::sqrt(exactly(step.squares)) * unscale;
    const double clip = rules.grad_clip > 0 ? std::min(1.0, rules.grad_clip / (norm + 1e-6)) : 1.0;
    for (Stream* stream : {&reference_stream(), &cpu_stream()}) {
      const std::vector<double> at = numbers_of(*stream, step, rules, 0, 8);
      EXPECT_EQ(at[kApply], 1);
      EXPECT_EQ(at[kLossScale], 8);
      EXPECT_EQ(at[kScale], 8) << "it is not dynamic";
      EXPECT_EQ(at[kGradNorm], norm);
      EXPECT_EQ(at[kGradUnscale], unscale);
      EXPECT_EQ(at[kGradScale], unscale * clip);
      EXPECT_EQ(at[kLoss], exactly(step.loss));
      EXPECT_EQ(at[kMtpLoss], exactly(step.mtp));
      EXPECT_EQ(at[kCounts + int{kTargets}], static_cast<double>(step.targets));
      EXPECT_EQ(at[kCounts + int{kSaveWishes}], 0);
      EXPECT_EQ(at[kCounts + int{kStopWishes}], 3);
      EXPECT_EQ(at[kCounts + int{kExtraRounds}], 5);
    }
  }
}

TEST(StepControls, ClipWhereTheNormIsLargerOnly) {
  const Step step{.loss = {1}, .squares = {16, 9}, .mtp = {}, .targets = 1};
  EXPECT_EQ(numbers_of(cpu_stream(), step, {.grad_clip = 10}, 0)[kGradScale], 1);
  EXPECT_EQ(numbers_of(cpu_stream(), step, {.grad_clip = 0}, 0)[kGradScale], 1);
  EXPECT_EQ(numbers_of(cpu_stream(), step, {.grad_clip = 1}, 0)[kGradScale], 1 / (5 + 1e-6));
}

TEST(StepControls, ChooseTheRowOfTheUpdatesThatWereApplied) {
  const Step step{.loss = {1}, .squares = {4}, .mtp = {}, .targets = 1};
  for (const size_t row : {0u, 1u}) {
    const std::vector<double> at =
        numbers_of(cpu_stream(), step, {.updates_known = 40}, 40 + static_cast<double>(row));
    EXPECT_EQ(at[kLearningRate], kChoices[3 * row]);
    EXPECT_EQ(at[kCorrection1], kChoices[3 * row + 1]);
    EXPECT_EQ(at[kCorrection2], kChoices[3 * row + 2]);
    EXPECT_EQ(at[kUpdates], 41 + static_cast<double>(row));
  }
}

TEST(StepControls, SkipAStepThatIsNotFinite) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Step& step : {Step{{1}, {4, infinity}, {}, 1}, Step{{NAN}, {4}, {}, 1}})
    for (Stream* stream : {&reference_stream(), &cpu_stream()}) {
      const std::vector<double> at = numbers_of(*stream, step, {.grad_clip = 1}, 0);
      EXPECT_EQ(at[kApply], 0);
      EXPECT_EQ(at[kGradScale], 0);
      EXPECT_EQ(at[kUpdates], 0);
      EXPECT_EQ(std::isnan(at[kLoss]), std::isnan(step.loss.front()));
      EXPECT_EQ(std::isnan(at[kGradNorm]), step.squares.size() == 2);
    }
}

// The scale after each step; 'x' overflows.
std::vector<double> scales(Stream& stream, const LossScaleRules& rules, double initial,
                           const std::string& steps) {
  const Tensor choices(stream.device(), DType::f64, {1, kNumChoices});
  std::fill_n(choices.as<double>(), int{kNumChoices}, 0.5);
  const Tensor numbers(stream.device(), DType::f64, {kNumStepNumbers});
  std::fill_n(numbers.as<double>(), int{kNumStepNumbers}, 0.0);
  numbers.as<double>()[kScale] = initial;
  numbers.as<double>()[kHysteresis] = static_cast<double>(rules.hysteresis);
  std::vector<double> found;
  for (const char step : steps) {
    const double before = numbers.as<double>()[kScale];
    const Step sums{{1}, {step == 'x' ? std::numeric_limits<double>::infinity() : 1}, {}, 1};
    step_controls(stream,
                  {.updates_known = static_cast<int64_t>(numbers.as<double>()[kUpdates]),
                   .loss_scale = rules},
                  statistics_of(sums, stream.device()), choices, numbers);
    EXPECT_EQ(numbers.as<double>()[kApply], step == 'x' ? 0 : 1);
    EXPECT_EQ(numbers.as<double>()[kLossScale], before);
    EXPECT_EQ(numbers.as<double>()[kGradUnscale], 1 / before);
    found.push_back(numbers.as<double>()[kScale]);
  }
  return found;
}
void expect_scales(const LossScaleRules& rules, double initial, const std::string& steps,
                   const std::vector<double>& expected) {
  for (Stream* stream : {&reference_stream(), &cpu_stream()})
    EXPECT_EQ(scales(*stream, rules, initial, steps), expected) << steps;
}
LossScaleRules pytorch(int64_t interval) {
  return {.dynamic = true, .growth_interval = interval};
}
LossScaleRules megatron(int64_t interval, int64_t hysteresis, double min) {
  return {.dynamic = true,
          .megatron = true,
          .growth_interval = interval,
          .hysteresis = hysteresis,
          .min = min};
}

TEST(LossScale, FollowsMegatronsTrace) {
  expect_scales(megatron(3, 2, 1), 1024, "xx...x", {1024, 512, 512, 512, 1024, 1024});
}

TEST(LossScale, OfMegatronFallsOnEveryOverflowOnceHysteresisIsUsedUp) {
  // A good step in between does not refill hysteresis; the minimum holds.
  expect_scales(megatron(3, 2, 200), 1024, "xx.xxx", {1024, 512, 512, 256, 200, 200});
}

TEST(LossScale, OfPyTorchHalvesAtOnceAndDoublesAfterGoodStepsInARow) {
  expect_scales(pytorch(3), 1024, "x..x....", {512, 512, 512, 256, 256, 256, 512, 512});
  expect_scales(pytorch(3), 1, "xx", {0.5, 0.25});  // no minimum
}

TEST(LossScale, DoesNotGrowBeyondF32) {
  expect_scales(pytorch(1), 0x1p127, "..", {0x1p127, 0x1p127});
}

TEST(LossScale, IsRoundedAsAnF32) {
  expect_scales(megatron(3, 1, 0.1), 0.125f, "xx", {0.1f, 0.1f});
}

TEST(LossScale, StaysWhereItIsNotDynamic) {
  expect_scales({.growth_interval = 1}, 1, "x..x", {1, 1, 1, 1});
}

TEST(StepControls, WithoutTargetsDivideByOne) {
  const Step step{.loss = {}, .squares = {9}, .mtp = {}, .targets = 0};
  EXPECT_EQ(numbers_of(cpu_stream(), step, {.normalizer = 4}, 0, 2)[kGradNorm], 6);
}

}  // namespace
}  // namespace tessera::test
