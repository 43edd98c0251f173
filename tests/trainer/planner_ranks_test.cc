// SPDX-License-Identifier: Apache-2.0
// A planned rank beside the real one: the same recipe, the same rank, every class of memory.
#include <gtest/gtest.h>

#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/planner.h"
#include "trainer/trainer.h"

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
    {"layout_free", 1, [](Recipe& r) { r.run.determinism = "layout_free"; }},
    {"selective", 1, [](Recipe& r) { r.parallel.recompute = "selective"; }},
    {"full", 1, [](Recipe& r) { r.parallel.recompute = "full"; }},
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

}  // namespace
}  // namespace tessera::test
