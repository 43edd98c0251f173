// SPDX-License-Identifier: Apache-2.0
#include "trainer/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera::test {
namespace {

using testing::ElementsAre;

Recipe ramped(int64_t length, int64_t global, const BatchRamp& ramp) {
  Recipe recipe;
  recipe.data.sequence_length = length;
  recipe.batch = {.global = global, .micro = 1, .ramp = ramp};
  return recipe;
}

TEST(Timeline, OfOneSizeMultiplies) {
  const Timeline timeline(ramped(10, 4, {}));
  EXPECT_THAT(timeline.batch_sizes(), ElementsAre(4));
  EXPECT_EQ(timeline.tokens_after(3), 120);
  EXPECT_EQ(timeline.steps_until(120), 3);
  EXPECT_EQ(timeline.steps_until(121), 4);
  EXPECT_EQ(timeline.in_steps({.steps = 7}), 7);
  EXPECT_EQ(timeline.in_tokens({.steps = 7}), 280);
  EXPECT_EQ(timeline.in_tokens({.tokens = 281}), 281);
}

// Three sizes below the last, each for 100/3 tokens: 2 from token 0, 4 from 34, 6 from 67, 8 from
// 100. Steps begin at tokens 0 20 40 80 140 220.
TEST(Timeline, RaisesTheBatchAtTheExactToken) {
  const Timeline timeline(ramped(10, 8, {.from = 2, .increment = 2, .tokens = 100}));
  EXPECT_THAT(timeline.batch_sizes(), ElementsAre(2, 4, 6, 8));
  const auto tokens_of_step_at = [&](int64_t token) {
    return timeline.tokens(timeline.batches().at(token / 10));
  };
  EXPECT_EQ(tokens_of_step_at(30), 20);
  EXPECT_EQ(tokens_of_step_at(40), 40);
  EXPECT_EQ(tokens_of_step_at(60), 40);
  EXPECT_EQ(tokens_of_step_at(70), 60);
  EXPECT_EQ(tokens_of_step_at(90), 60);
  EXPECT_EQ(tokens_of_step_at(100), 80);
  std::vector<int64_t> begins;
  for (int64_t step = 0; step < 6; ++step) begins.push_back(timeline.tokens_after(step));
  EXPECT_THAT(begins, ElementsAre(0, 20, 40, 80, 140, 220));
  EXPECT_EQ(timeline.steps_until(140), 4);
  EXPECT_EQ(timeline.steps_until(141), 5);
}

// DeepSeek-V3 (arXiv:2412.19437, 4.2): 3072 to 15360 sequences over 469B tokens, 14.8T in all.
TEST(Timeline, CountsTheStepsOfDeepSeekV3OneByOne) {
  constexpr int64_t kRamp = 469'000'000'000, kWhole = 14'800'000'000'000;
  const Timeline timeline(ramped(4096, 15360, {.from = 3072, .increment = 1024, .tokens = kRamp}));
  int64_t token = 0, steps = 0, steps_of_ramp = 0;
  for (; token < kWhole; ++steps) {
    if (token < kRamp) ++steps_of_ramp;
    // 12 increments.
    const int64_t sequences = token < kRamp ? 3072 + token * 12 / kRamp * 1024 : 15360;
    ASSERT_EQ(timeline.tokens_after(steps), token) << steps;
    token += 4096 * sequences;
  }
  EXPECT_EQ(timeline.steps_until(kWhole), steps);
  EXPECT_EQ(timeline.steps_until(kRamp), steps_of_ramp);
  EXPECT_EQ(timeline.total_steps({.tokens = kWhole}, 0, 0), steps);
  EXPECT_EQ(timeline.total_samples({.tokens = kWhole}, 0, 0), token / 4096);
}

// A run that was begun with another batch ends where its tokens do.
TEST(Timeline, CountsTheRestOfARunFromWhereItIs) {
  const Timeline timeline(ramped(10, 4, {}));
  EXPECT_EQ(timeline.total_steps({.steps = 9}, 5, 33), 9);
  EXPECT_EQ(timeline.total_samples({.steps = 9}, 5, 33), 33 + 4 * 4);
  EXPECT_EQ(timeline.total_steps({.tokens = 500}, 5, 33), 5 + 5);
  EXPECT_EQ(timeline.total_steps({.tokens = 500}, 5, 60), 5) << "it is done";
  EXPECT_EQ(timeline.total_samples({.tokens = 500}, 5, 60), 60);
}

}  // namespace
}  // namespace tessera::test
