// SPDX-License-Identifier: Apache-2.0
// What the planner says of a GPU's memory, against what the stand-in's pool takes in a run.
#include <gtest/gtest.h>

#include "tests/support/stand_in.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/planner.h"

namespace tessera::test {
namespace {

// Of the stand-in, after stand_in.h has set less and before it is opened.
const bool kHasRoom = setenv("TESSERA_STAND_IN_MEMORY", "536870912", 1) == 0;

// Most of what it needs are large blocks; some are small.
Recipe recipe_of(const TemporaryDirectory& directory) {
  Recipe recipe = tiny_recipe(directory / "tokens", "bf16");
  recipe.model.hidden_size = 128;
  recipe.model.intermediate_size = 320;
  recipe.data.sequence_length = 256;
  recipe.batch = {.global = 48, .micro = 16};
  recipe.run.device = "cuda";
  return recipe;
}

int64_t planned(const Recipe& recipe) {
  return DryJob(recipe, 1).play(0).memory.system_bytes;
}

// One run, since a pool that has memory already asks for less.
TEST(PlannerOnGpu, BoundsWhatAPoolTakesWithRecordedPasses) {
  const TemporaryDirectory directory;
  write_tiny_tokens(directory / "tokens");
  const Recipe recipe = recipe_of(directory);
  const int64_t before = memory_use(kStandIn).system_bytes;
  const Communicators alone;
  Trainer trainer(recipe, kStandIn, alone);
  for (int step = 0; step < 3; ++step) trainer.step({});
  ASSERT_GT(stand_in_counts().graphs_launched, 0);
  const int64_t taken = memory_use(kStandIn).system_bytes - before;
  EXPECT_GE(planned(recipe), taken);
  EXPECT_LE(static_cast<double>(planned(recipe)), 1.05 * static_cast<double>(taken));
}

TEST(PlannerOnGpu, CountsMemoryOfTheirOwnWherePassesAreRecorded) {
  const TemporaryDirectory directory;
  Recipe recorded = recipe_of(directory), queued = recorded;
  queued.run.cuda_graphs = false;
  EXPECT_GE(planned(recorded), planned(queued) + (8 << 20)) << "a slab of small blocks";
  const PlayedRank one = DryJob(recorded, 1).play(0), other = DryJob(queued, 1).play(0);
  EXPECT_EQ(one.calls.size(), other.calls.size()) << "of one step";
  Recipe experts = recorded;
  experts.model = tiny_deepseek();
  const int64_t with = planned(experts);
  experts.run.cuda_graphs = false;
  EXPECT_GE(with, planned(experts) + (8 << 20)) << "experts that are all here";
  // On a CPU nothing is recorded, nor where a step has one microbatch.
  recorded.batch.global = queued.batch.global = 16;
  EXPECT_EQ(planned(recorded), planned(queued));
  recorded.run.device = queued.run.device = "cpu";
  recorded.batch.global = queued.batch.global = 48;
  EXPECT_EQ(planned(recorded), planned(queued));
}

}  // namespace
}  // namespace tessera::test
