// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/lr_schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace tessera::test {
namespace {

LrScheduleOptions schedule_of(const std::string& kind) {
  LrScheduleOptions schedule;
  schedule.kind = kind;
  schedule.min_lr_ratio = 0.1;
  return schedule;
}

TEST(LearningRate, WarmsUpFromAboveZeroToThePeak) {
  for (const char* kind : {"constant", "warmup_cosine", "wsd", "multi_step"}) {
    LrScheduleOptions schedule = schedule_of(kind);
    schedule.warmup_steps = 4;
    for (int64_t u = 0; u < 4; ++u)
      EXPECT_DOUBLE_EQ(learning_rate(schedule, 2, 100, u), 2.0 * static_cast<double>(u + 1) / 5)
          << kind;
    EXPECT_DOUBLE_EQ(learning_rate(schedule, 2, 100, 4), 2) << kind;
  }
}

TEST(LearningRate, StaysWhenConstant) {
  EXPECT_EQ(learning_rate(schedule_of("constant"), 3, 10, 9), 3);
}

TEST(LearningRate, FallsAlongACosineToTheMinimumAndStaysThere) {
  LrScheduleOptions schedule = schedule_of("warmup_cosine");
  schedule.warmup_steps = 10;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 60), 0.55);  // half way
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 35), 0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 110), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 500), 0.1);
  schedule.decay_steps = 60;  // ends before the run
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 35), 0.55);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 110, 60), 0.1);
}

TEST(LearningRate, HoldsAndThenFallsInAStraightLine) {
  LrScheduleOptions schedule = schedule_of("wsd");
  schedule.decay_steps = 20;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 0), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 80), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 90), 0.55);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 100), 0.1);
}

TEST(LearningRate, FallsByAFactorAtEachMilestone) {
  LrScheduleOptions schedule = schedule_of("multi_step");
  schedule.milestones = {0.8, 0.9};
  schedule.milestone_factor = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 79), 1);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 80), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 89), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(schedule, 1, 100, 90), 0.25);
}

}  // namespace
}  // namespace tessera::test
