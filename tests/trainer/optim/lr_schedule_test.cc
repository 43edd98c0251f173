// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/lr_schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace tessera::test {
namespace {

LrScheduleOptions schedule_of(LrKind kind) {
  LrScheduleOptions schedule;
  schedule.kind = kind;
  schedule.min_lr_ratio = 0.1;
  return schedule;
}

// 4 sequences of 10 tokens a step; or 2 until token 60, then 4.
Recipe even() {
  Recipe recipe;
  recipe.data.sequence_length = 10;
  recipe.batch = {.global = 4, .micro = 1};
  return recipe;
}
Recipe growing() {
  Recipe recipe = even();
  recipe.batch.ramp = {.from = 2, .increment = 2, .tokens = 60};
  return recipe;
}

// Of a run in steps, after so many updates.
double learning_rate(const LrScheduleOptions& schedule, double peak, int64_t total_steps,
                     int64_t updates) {
  return LearningRate(schedule, peak, {.steps = total_steps}, Timeline(even()))
      .at({.steps = updates, .updates = updates, .tokens = 40 * updates, .step_tokens = 40});
}

// Of a run in tokens, where the step of 40 tokens begins at `token`.
double rate_at(const LrScheduleOptions& schedule, int64_t total_tokens, int64_t token) {
  return LearningRate(schedule, 1, {.tokens = total_tokens}, Timeline(even()))
      .at({.steps = 7, .updates = token / 40, .tokens = token, .step_tokens = 40});
}

TEST(LearningRate, WarmsUpFromAboveZeroToThePeak) {
  for (const LrKind kind :
       {LrKind::constant, LrKind::warmup_cosine, LrKind::wsd, LrKind::multi_step}) {
    LrScheduleOptions schedule = schedule_of(kind);
    schedule.warmup.steps = 4;
    for (int64_t u = 0; u < 4; ++u)
      EXPECT_DOUBLE_EQ(learning_rate(schedule, 2, 100, u), 2.0 * static_cast<double>(u + 1) / 5)
          << name_of(kind);
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 2, 100, 4), 2) << name_of(kind);
  }
}

TEST(LearningRate, StaysWhenConstant) {
  EXPECT_EQ(learning_rate(schedule_of(LrKind::constant), 3, 10, 9), 3);
}

TEST(LearningRate, FallsAlongACosineToTheMinimumAndStaysThere) {
  LrScheduleOptions schedule = schedule_of(LrKind::warmup_cosine);
  schedule.warmup.steps = 10;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 60), 0.55);  // half way
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 35), 0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 110), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 500), 0.1);
  schedule.decay.steps = 60;  // ends before the run
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 35), 0.55);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 60), 0.1);
}

TEST(LearningRate, HoldsAndThenFallsInAStraightLine) {
  LrScheduleOptions schedule = schedule_of(LrKind::wsd);
  schedule.decay.steps = 20;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 0), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 80), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 90), 0.55);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 100), 0.1);
}

TEST(LearningRate, FallsByAFactorAtEachMilestone) {
  LrScheduleOptions schedule = schedule_of(LrKind::multi_step);
  schedule.milestones = {0.8, 0.9};
  schedule.milestone_factor = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 79), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 80), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 89), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 90), 0.25);
}

// 0.07 * 100 is 7.000000000000001 in doubles, and 0.56 * 100 likewise above 56.
TEST(LearningRate, FallsAtTheExactStepOfEveryFraction) {
  for (const int64_t run : {100, 1000, 50000})
    for (int64_t percent = 1; percent < 100; ++percent)
      EXPECT_EQ(LearningRate::milestone(static_cast<double>(percent) / 100, run),
                run * percent / 100)
          << percent << " of " << run;
  EXPECT_EQ(LearningRate::milestone(0.5, 7), 4) << "the first step that is beyond it";
  EXPECT_EQ(LearningRate::milestone(1.0 / 3, 300), 100);
  EXPECT_EQ(LearningRate::milestone(0.6, 8'100'000'000'000), 4'860'000'000'000);
  LrScheduleOptions schedule = schedule_of(LrKind::multi_step);
  schedule.milestones = {0.07, 0.56};
  schedule.milestone_factor = 0.5;
  EXPECT_EQ(learning_rate(schedule, 1, 100, 6), 1);
  EXPECT_EQ(learning_rate(schedule, 1, 100, 7), 0.5);
  EXPECT_EQ(learning_rate(schedule, 1, 100, 55), 0.5);
  EXPECT_EQ(learning_rate(schedule, 1, 100, 56), 0.25);
}

// What a length of n steps says, 40 n tokens say as well, to the last bit but for the division.
TEST(LearningRate, IsTheSameInTokensWhereStepsAreAlike) {
  for (const LrKind kind :
       {LrKind::constant, LrKind::warmup_cosine, LrKind::wsd, LrKind::multi_step}) {
    LrScheduleOptions steps = schedule_of(kind), tokens = steps;
    steps.warmup.steps = 5;
    tokens.warmup.tokens = 200;
    if (kind == LrKind::wsd) {
      steps.decay.steps = 20;
      tokens.decay.tokens = 800;
    }
    for (int64_t u = 0; u < 120; ++u)
      EXPECT_NEAR(rate_at(tokens, 4000, 40 * u) / learning_rate(steps, 1, 100, u), 1, 1e-14)
          << name_of(kind) << " " << u;
  }
}

TEST(LearningRate, MultipliesAtTheExactTokenOfAMilestone) {
  LrScheduleOptions schedule = schedule_of(LrKind::multi_step);
  schedule.milestones = {0.6, 0.9};  // DeepSeek-V2: 4.86T and 7.29T of 8.1T tokens
  schedule.milestone_factor = 0.316;
  constexpr int64_t kWhole = 8'100'000'000'000;
  EXPECT_EQ(rate_at(schedule, kWhole, 4'860'000'000'000 - 1), 1);
  EXPECT_EQ(rate_at(schedule, kWhole, 4'860'000'000'000), 0.316);
  EXPECT_EQ(rate_at(schedule, kWhole, 7'290'000'000'000 - 1), 0.316);
  EXPECT_EQ(rate_at(schedule, kWhole, 7'290'000'000'000), 0.316 * 0.316);
}

// DeepSeek-V3 (arXiv:2412.19437, 4.2).
LrScheduleOptions deepseek_v3() {
  LrScheduleOptions schedule;
  schedule.kind = LrKind::phases;
  schedule.warmup.steps = 2000;
  schedule.phases = {
      {.length = {.tokens = 10'000'000'000'000}},
      {.shape = LrShape::cosine, .lr = 2.2e-5, .length = {.tokens = 4'300'000'000'000}},
      {.length = {.tokens = 333'000'000'000}},
      {.lr = 7.3e-6, .length = {.tokens = 167'000'000'000}}};
  return schedule;
}

TEST(LearningRate, HasThePhasesOfDeepSeekV3) {
  constexpr int64_t kWhole = 14'800'000'000'000;
  const LearningRate rate(deepseek_v3(), 2.2e-4, {.tokens = kWhole}, Timeline(even()));
  const auto at = [&](int64_t token) {
    return rate.at({.steps = 5000, .updates = 5000, .tokens = token, .step_tokens = 40});
  };
  EXPECT_DOUBLE_EQ(rate.at({.updates = 999, .tokens = 39960, .step_tokens = 40}),
                   2.2e-4 * 1000 / 2001)
      << "the warm-up counts updates";
  EXPECT_EQ(rate.at({.updates = 2000, .tokens = 80000, .step_tokens = 40}), 2.2e-4);
  EXPECT_EQ(at(10'000'000'000'000 - 1), 2.2e-4);
  EXPECT_EQ(at(10'000'000'000'000), 2.2e-4) << "the cosine begins level";
  EXPECT_DOUBLE_EQ(at(12'150'000'000'000), (2.2e-4 + 2.2e-5) / 2);
  EXPECT_NEAR(at(14'300'000'000'000 - 1), 2.2e-5, 1e-15);
  EXPECT_EQ(at(14'300'000'000'000), 2.2e-5);
  EXPECT_EQ(at(14'633'000'000'000 - 1), 2.2e-5);
  EXPECT_EQ(at(14'633'000'000'000), 7.3e-6);
  EXPECT_EQ(at(kWhole), 7.3e-6);
  EXPECT_EQ(at(2 * kWhole), 7.3e-6) << "the last phase holds";
}

TEST(LearningRate, FollowsPhasesInStepsAndLines) {
  LrScheduleOptions schedule = schedule_of(LrKind::phases);
  schedule.phases = {{.shape = LrShape::linear, .lr = 0.5, .length = {.steps = 10}},
                     {.length = {.steps = 5}},
                     {.shape = LrShape::linear, .lr = 0, .length = {.steps = 4}}};
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 0), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 5), 0.75);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 10), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 14), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 16), 0.375);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 19), 0);
  schedule.warmup.steps = 2;  // the line begins where the warm-up ends
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 2), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 20, 6), 0.75);
}

// Steps begin at tokens 0 20 40 60 100 140 ...: 3 steps of warm-up are 60 tokens.
TEST(LearningRate, TurnsAWarmUpInStepsIntoTokensAlongTheRamp) {
  LrScheduleOptions schedule = schedule_of(LrKind::warmup_cosine);
  schedule.warmup.steps = 3;
  const LearningRate rate(schedule, 1, {.tokens = 260}, Timeline(growing()));
  EXPECT_DOUBLE_EQ(rate.at({.updates = 2, .tokens = 40, .step_tokens = 20}), 0.75);
  EXPECT_DOUBLE_EQ(rate.at({.updates = 3, .tokens = 60, .step_tokens = 40}), 1);
  EXPECT_DOUBLE_EQ(rate.at({.updates = 5, .tokens = 160, .step_tokens = 40}), 0.55) << "half way";
  schedule.warmup = {.tokens = 50};
  const LearningRate by_tokens(schedule, 1, {.tokens = 250}, Timeline(growing()));
  EXPECT_DOUBLE_EQ(by_tokens.at({.updates = 2, .tokens = 40, .step_tokens = 20}), 60.0 / 70);
  EXPECT_DOUBLE_EQ(by_tokens.at({.updates = 5, .tokens = 150, .step_tokens = 40}), 0.55);
}

}  // namespace
}  // namespace tessera::test
