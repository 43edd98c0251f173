// SPDX-License-Identifier: Apache-2.0
// Schedules that cannot be meant are refused: shapes without room, rates that jump, milestones out
// of order.
#include "trainer/schedule_rules.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Returns the keys that the rules name when `change` is made to a run of 10 steps.
std::vector<std::string> keys(const std::function<void(Recipe&)>& change) {
  Recipe recipe = tiny_recipe("corpus");
  recipe.run.steps = 10;
  recipe.run.tokens = 0;
  recipe.lr_schedule = {};
  change(recipe);
  Problems problems;
  check_schedules(recipe, problems);
  std::vector<std::string> found;
  for (const RecipeProblem& problem : problems.found) found.push_back(problem.key);
  return found;
}

LrScheduleOptions shape(LrKind kind, int64_t warmup, int64_t decay) {
  LrScheduleOptions schedule;
  schedule.kind = kind;
  schedule.warmup.steps = warmup;
  schedule.decay.steps = decay;
  return schedule;
}
std::vector<std::string> keys_of(const LrScheduleOptions& schedule) {
  return keys([&](Recipe& recipe) { recipe.lr_schedule = schedule; });
}

TEST(ScheduleRules, WantADecayForWarmupStableDecayThatHasRoom) {
  EXPECT_THAT(keys_of(shape(LrKind::wsd, 0, 0)), ElementsAre("lr_schedule.decay_steps"));
  EXPECT_THAT(keys_of(shape(LrKind::wsd, 2, 1000)), ElementsAre("lr_schedule.decay_steps"));
  EXPECT_THAT(keys_of(shape(LrKind::wsd, 2, 9)), ElementsAre("lr_schedule.decay_steps"));
  EXPECT_THAT(keys_of(shape(LrKind::wsd, 2, 8)), IsEmpty());
  EXPECT_THAT(keys_of(shape(LrKind::wsd, 0, 10)), IsEmpty());
}

TEST(ScheduleRules, WantTheWarmUpToEndBeforeTheCosineDoes) {
  EXPECT_THAT(keys_of(shape(LrKind::warmup_cosine, 1000, 0)),
              ElementsAre("lr_schedule.warmup_steps"));
  EXPECT_THAT(keys_of(shape(LrKind::warmup_cosine, 10, 0)),
              ElementsAre("lr_schedule.warmup_steps"));
  EXPECT_THAT(keys_of(shape(LrKind::warmup_cosine, 6, 3)), ElementsAre("lr_schedule.warmup_steps"));
  EXPECT_THAT(keys_of(shape(LrKind::warmup_cosine, 6, 6)), ElementsAre("lr_schedule.warmup_steps"));
  EXPECT_THAT(keys_of(shape(LrKind::warmup_cosine, 6, 7)), IsEmpty());
  EXPECT_THAT(keys_of(shape(LrKind::warmup_cosine, 9, 0)), IsEmpty());
  EXPECT_THAT(keys_of(shape(LrKind::warmup_cosine, 0, 1000)), IsEmpty())
      << "beyond the run is a choice";
  EXPECT_THAT(keys_of(shape(LrKind::constant, 1000, 0)), IsEmpty()) << "it has no shape to miss";
}

TEST(ScheduleRules, CompareStepsWithTokens) {
  EXPECT_THAT(keys([](Recipe& recipe) {
                recipe.lr_schedule.warmup.steps = 3;
                recipe.run.steps = 0;
                recipe.run.tokens = 3 * recipe.batch.global * recipe.data.sequence_length;
              }),
              ElementsAre("lr_schedule.warmup_steps"));
  EXPECT_THAT(keys([](Recipe& recipe) {
                recipe.lr_schedule.warmup.tokens =
                    10 * recipe.batch.global * recipe.data.sequence_length;
              }),
              ElementsAre("lr_schedule.warmup_tokens"));
}

TEST(ScheduleRules, WantMilestonesThatIncreaseInsideTheRun) {
  const auto with = [](std::vector<double> milestones, double factor, int64_t warmup) {
    LrScheduleOptions schedule = shape(LrKind::multi_step, warmup, 0);
    schedule.milestones = std::move(milestones);
    schedule.milestone_factor = factor;
    return keys_of(schedule);
  };
  EXPECT_THAT(with({0.8, 0.9}, 0.3, 0), IsEmpty());
  EXPECT_THAT(with({0.9, 0.8}, 0.3, 0), ElementsAre("lr_schedule.milestones"));
  EXPECT_THAT(with({0.8, 0.8}, 0.3, 0), ElementsAre("lr_schedule.milestones"));
  EXPECT_THAT(with({0}, 0.3, 0), ElementsAre("lr_schedule.milestones"));
  EXPECT_THAT(with({1}, 0.3, 0), ElementsAre("lr_schedule.milestones"));
  EXPECT_THAT(with({80, 90}, 0.3, 0),
              ElementsAre("lr_schedule.milestones", "lr_schedule.milestones"));
  EXPECT_THAT(with({0.8, 0.9}, -3, 0), ElementsAre("lr_schedule.milestone_factor"));
  EXPECT_THAT(with({0.8, 0.9}, 0, 0), ElementsAre("lr_schedule.milestone_factor"));
  EXPECT_THAT(with({0.8, 0.9}, 0.3, 8), ElementsAre("lr_schedule.warmup_steps"));
  EXPECT_THAT(with({0.8, 0.9}, 0.3, 7), IsEmpty());
}

}  // namespace
}  // namespace tessera::test
