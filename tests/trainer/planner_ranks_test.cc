// SPDX-License-Identifier: Apache-2.0
// A planned rank beside the real one: the same recipe, the same rank, every class of memory.
#include <fstream>

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/prctl.h>

#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/planner.h"
#include "trainer/trainer.h"
#include "trainer/training_plan.h"

namespace tessera::test {
namespace {

struct Layout {
  const char* name;
  int ranks;  // that it needs
  void (*set)(Recipe& recipe);
};

const Layout kLayouts[] = {
    {"data", 1, [](Recipe&) {}},
    {"zero_1", 1, [](Recipe& r) { r.parallel.zero = 1; }},
    {"zero_2", 1, [](Recipe& r) { r.parallel.zero = 2; }},
    {"zero_3", 1, [](Recipe& r) { r.parallel.zero = 3; }},
    {"layout_free", 1, [](Recipe& r) { r.run.determinism = Determinism::layout_free; }},
    {"selective", 1, [](Recipe& r) { r.parallel.recompute = Recomputation::selective; }},
    {"full", 1, [](Recipe& r) { r.parallel.recompute = Recomputation::full; }},
    {"tensor", 2, [](Recipe& r) { r.parallel.tensor = 2; }},
    {"pipeline", 2, [](Recipe& r) { r.parallel.pipeline = 2; }},
    {"tied_pipeline", 2,
     [](Recipe& r) {
       r.parallel.pipeline = 2;
       r.model.tie_word_embeddings = true;
     }},
    {"zero_bubble", 2,
     [](Recipe& r) {
       r.parallel.pipeline = 2;
       r.parallel.schedule = "zb_h1";
     }},
    {"dualpipe_v", 2,
     [](Recipe& r) {
       r.parallel.pipeline = 2;
       r.parallel.schedule = "dualpipe_v";
     }},
    {"ramp", 1,  // one step of 4 sequences, the others of 16
     [](Recipe& r) { r.batch.ramp = {.from = 4, .increment = 12, .tokens = 1}; }},
};

struct PlannedMemory : testing::TestWithParam<Layout> {};

INSTANTIATE_TEST_SUITE_P(Layouts, PlannedMemory, testing::ValuesIn(kLayouts),
                         [](const auto& each) { return std::string(each.param.name); });

// Large enough that activations are not a handful of the smallest blocks.
Recipe recipe_of(const Layout& layout, const std::string& tokens) {
  Recipe recipe = tiny_recipe(tokens, "bf16");
  recipe.model = {.vocab_size = 29,
                  .hidden_size = 128,
                  .intermediate_size = 352,
                  .num_hidden_layers = 4,
                  .num_attention_heads = 4,
                  .num_key_value_heads = 2};
  recipe.data.sequence_length = 64;
  recipe.batch = {.global = 16, .micro = 2};
  layout.set(recipe);
  return recipe;
}

TEST_P(PlannedMemory, IsThatOfTheRealRank) {
  if (world().size() < GetParam().ranks) GTEST_SKIP() << "wants " << GetParam().ranks << " ranks";
  std::optional<TemporaryDirectory> mine;
  std::string tokens;
  if (world().rank() == 0) {
    mine.emplace();
    tokens = *mine / "tokens";
    write_tiny_tokens(tokens);
  }
  tokens = world().all().broadcast(tokens, 0, "tokens");
  const Recipe recipe = recipe_of(GetParam(), tokens);
  ASSERT_TRUE(validate(recipe, world().size()).empty());
  const DryJob job(recipe, world().size());
  const MemoryUse planned = job.play(world().rank()).memory;

  const Communicators comms(world(), job.grid(), recipe.model.kv_replicas(recipe.parallel.tensor));
  const MemoryUse before = memory_use();
  restart_peaks(Device{});
  {
    Trainer trainer(recipe, Device{}, comms);
    trainer.step({});
    trainer.step({});
  }
  const MemoryUse real = memory_use();
  const auto used = [&](MemoryClass c) {
    return real.peak[static_cast<size_t>(c)] - before.now[static_cast<size_t>(c)];
  };
  const auto plan = [&](MemoryClass c) { return planned.peak[static_cast<size_t>(c)]; };
  EXPECT_EQ(plan(MemoryClass::weights), used(MemoryClass::weights));
  EXPECT_EQ(plan(MemoryClass::gradients), used(MemoryClass::gradients));
  EXPECT_EQ(plan(MemoryClass::optimizer), used(MemoryClass::optimizer));
  // Equal where nothing is late: a real send keeps its tensor until it has left.
  const auto activations = static_cast<double>(used(MemoryClass::activations));
  EXPECT_NEAR(static_cast<double>(plan(MemoryClass::activations)), activations, 0.1 * activations);
  world().all().barrier("end of test");
}

// What the system counts as this process's, in bytes: "VmRSS" now, "VmHWM" at most so far.
double resident(const std::string& what) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(what + ":")) return 1024 * std::stod(line.substr(what.size() + 1));
  ADD_FAILURE() << "no " << what << " in /proc/self/status";
  return 0;
}

struct ResidentMemory : testing::TestWithParam<Layout> {};

const Layout kResident[] = {
    {"zero_0", 1, [](Recipe&) {}},
    {"zero_1", 1, [](Recipe& r) { r.parallel.zero = 1; }},
    {"zero_2", 1, [](Recipe& r) { r.parallel.zero = 2; }},
    {"zero_3", 1, [](Recipe& r) { r.parallel.zero = 3; }},
    {"selective", 1, [](Recipe& r) { r.parallel.recompute = Recomputation::selective; }},
    {"full", 1, [](Recipe& r) { r.parallel.recompute = Recomputation::full; }},
    {"tensor", 2, [](Recipe& r) { r.parallel.tensor = 2; }},
    {"gpipe", 2, [](Recipe& r) { r.parallel.schedule = "gpipe"; }},
    {"one_f_one_b", 2, [](Recipe& r) { r.parallel.schedule = "1f1b"; }},
    {"interleaved", 2, [](Recipe& r) { r.parallel.schedule = "interleaved"; }},
    {"zb_h1", 2, [](Recipe& r) { r.parallel.schedule = "zb_h1"; }},
    {"zb_h2", 2, [](Recipe& r) { r.parallel.schedule = "zb_h2"; }},
    {"zb_v", 2, [](Recipe& r) { r.parallel.schedule = "zb_v"; }},
    {"dualpipe_v", 2, [](Recipe& r) { r.parallel.schedule = "dualpipe_v"; }},
};
INSTANTIATE_TEST_SUITE_P(Layouts, ResidentMemory, testing::ValuesIn(kResident),
                         [](const auto& each) { return std::string(each.param.name); });

// What plan promises (docs/parallelism.md). 26 million parameters: beside them, what the plan
// leaves out (threads, transports) is little.
TEST_P(ResidentMemory, IsWhatWasPlanned) {
  if (world().size() != 2) GTEST_SKIP() << "wants 2 ranks";
  if (*TESSERA_SANITIZERS) GTEST_SKIP() << "a sanitizer's own memory is counted too";
  std::optional<TemporaryDirectory> mine;
  std::string tokens;
  if (world().rank() == 0) {
    mine.emplace();
    tokens = *mine / "tokens";
    write_tiny_tokens(tokens);
  }
  tokens = world().all().broadcast(tokens, 0, "tokens");
  Recipe recipe = recipe_of(GetParam(), tokens);
  recipe.model = {.vocab_size = 512,
                  .hidden_size = 512,
                  .intermediate_size = 1408,
                  .num_hidden_layers = 8,
                  .num_attention_heads = 8};
  recipe.data.sequence_length = 128;
  recipe.batch = {.global = 4, .micro = 1};  // as many as schedules of two stages hold at once
  if (recipe.parallel.schedule != "1f1b" || std::string(GetParam().name) == "one_f_one_b")
    recipe.parallel.pipeline = 2;
  const std::vector<RecipeProblem> problems = validate(recipe, world().size());
  ASSERT_TRUE(problems.empty()) << problems.front().message;
  const auto planned =
      static_cast<double>(DryJob(recipe, world().size()).play(world().rank()).memory.system_bytes);

  // Huge pages round each of a few dozen buffers up to 2 MiB, where the machine has them: 6 % of a
  // model as small as this one, and nothing of a real one.
  ASSERT_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
  release_pooled_memory();
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM starts anew
  const double before = resident("VmRSS");
  const Communicators comms(world(), ProcessGrid::filling(2, grid_sizes(recipe.parallel)));
  {
    Trainer trainer(recipe, Device{}, comms);
    trainer.step({});
    trainer.step({});
  }
  const double seen = resident("VmHWM") - before;
  EXPECT_NEAR(seen, planned, 0.05 * planned);
  world().all().barrier("end of test");
}

}  // namespace
}  // namespace tessera::test
