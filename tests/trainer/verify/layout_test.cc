// SPDX-License-Identifier: Apache-2.0
#include "trainer/verify/layout.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/generators.h"
#include "tests/support/errors.h"
#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

Recipe deep() {
  Recipe recipe = tiny_recipe("corpus");
  recipe.model.num_hidden_layers = 8;
  recipe.batch = {.global = 32, .micro = 1};
  return recipe;
}

TEST(Layouts, ReadsKeysAndLeavesTheRestAtOneRank) {
  const Layout layout =
      parse_layout(" tensor=2, pipeline=4,schedule=zb_h1 ,zero=3,compute=bf16,threads=2", deep());
  EXPECT_EQ(layout.num_ranks(), 8);
  EXPECT_EQ(layout.to_string(), "dp1 tp2 pp4 zero3 zb_h1 bf16 t2");
  EXPECT_EQ(parse_layout("", deep()).to_string(), "dp1 tp1 pp1 zero0 1f1b f32");
  EXPECT_EQ(parse_layouts("tensor=2; data=4;", deep()).size(), 2U);
}

TEST(Layouts, NameTheWordThatIsWrong) {
  for (const auto& [text, words] : std::vector<std::pair<std::string, std::string>>{
           {"tensor", "'tensor' is not key=value"},
           {"tenor=2", "unknown key 'tenor'"},
           {"tensor=two", "'tensor=two' wants a whole number"}})
    EXPECT_THAT(error_of([&] { parse_layout(text, deep()); }), HasSubstr(words));
}

// A script's empty variable must not pass for a proof.
TEST(Layouts, AreRefusedWhereTheTextNamesNone) {
  for (const char* text : {"", " ", ";", " ; ;", ",", ", ; ,"})
    EXPECT_THAT(error_of([&] { parse_layouts(text, deep()); }), HasSubstr("names no layout"))
        << text;
}

// The warm-up and the decay of a recipe are longer than the few steps that verify trains.
TEST(Layouts, KeepTheWarmUpAloneWhereTheSchedulesShapeHasNoRoom) {
  Recipe recipe = deep();
  recipe.run.steps = 1000;
  recipe.lr_schedule.kind = LrKind::warmup_cosine;
  recipe.lr_schedule.warmup.steps = 20;
  const Layout alone = parse_layout("", recipe);
  EXPECT_EQ(in_layout(recipe, alone, 2).lr_schedule.kind, LrKind::constant);
  EXPECT_EQ(in_layout(recipe, alone, 2).lr_schedule.warmup.steps, 20);
  EXPECT_EQ(in_layout(recipe, alone, 21).lr_schedule.kind, LrKind::warmup_cosine);
}

TEST(Layouts, AreLegalForTheRanksAtHandAndTheSameEveryTime) {
  const std::vector<Layout> layouts = covering_layouts(deep(), 4, true);
  for (const Layout& layout : layouts) {
    EXPECT_LE(layout.num_ranks(), 4);
    EXPECT_TRUE(validate(in_layout(deep(), layout, 2), layout.num_ranks()).empty())
        << layout.to_string();
  }
  const std::vector<Layout> again = covering_layouts(deep(), 4, true);
  ASSERT_EQ(again.size(), layouts.size());
  for (size_t i = 0; i < layouts.size(); ++i)
    EXPECT_EQ(again[i].to_string(), layouts[i].to_string());
}

TEST(Layouts, HoldPairsOfEveryKindThatEightRanksAllow) {
  const std::vector<Layout> layouts = covering_layouts(deep(), 8, true);
  std::set<std::string> pairs;
  for (const Layout& layout : layouts) {
    const ParallelOptions& p = layout.parallel;
    pairs.insert("zero" + std::to_string(p.zero) + " " + p.schedule);
    pairs.insert("tp" + std::to_string(p.tensor) + " pp" + std::to_string(p.pipeline));
    pairs.insert(name_of(p.recompute) + std::string(" zero") + std::to_string(p.zero));
    pairs.insert(name_of(layout.compute) + std::string(" ") + p.schedule);
    pairs.insert("dp" + std::to_string(p.data) + " zero" + std::to_string(p.zero));
  }
  for (const int zero : {0, 1, 2, 3}) {
    const std::string stage = "zero" + std::to_string(zero);
    for (const ScheduleKind& schedule : schedule_kinds())
      EXPECT_TRUE(pairs.contains(stage + " " + schedule.name)) << stage << " " << schedule.name;
    for (const std::string& recompute : names_of<Recomputation>())
      EXPECT_TRUE(pairs.contains(recompute + " " + stage));
    for (const char* data : {"dp1 ", "dp2 ", "dp4 "}) EXPECT_TRUE(pairs.contains(data + stage));
  }
  for (const char* pair : {"tp1 pp4", "tp2 pp4", "tp4 pp1", "tp4 pp2", "bf16 zb_v", "f16 gpipe"})
    EXPECT_TRUE(pairs.contains(pair)) << pair;
  EXPECT_FALSE(pairs.contains("tp4 pp4")) << "16 ranks";
}

TEST(Layouts, PutEveryPromiseOfEqualBitsToTheTest) {
  std::map<std::string, int> members;
  for (const Layout& layout : covering_layouts(deep(), 8, true))
    ++members[class_of(layout, deep())];
  for (const auto& [group, count] : members) EXPECT_GE(count, 2) << group;
}

TEST(Layouts, ShareAClassWhereBitsArePromised) {
  const auto group = [](const std::string& text, Determinism determinism = Determinism::same_layout,
                        int64_t micro = 1, bool tied = false) {
    Recipe recipe = deep();
    recipe.model.tie_word_embeddings = tied;
    recipe.run.determinism = determinism;
    recipe.batch.micro = micro;
    return class_of(parse_layout(text, recipe), recipe);
  };
  EXPECT_EQ(group("pipeline=4,schedule=zb_v,recompute=full"), group("zero=1"));
  EXPECT_EQ(group("data=2,zero=2"), group("data=2,zero=3,threads=3,transport=mpi"));
  EXPECT_NE(group("data=2,zero=1"), group("data=2,zero=2"));
  EXPECT_EQ(group("data=2,zero=1", Determinism::same_layout, 16),
            group("data=2,zero=2", Determinism::same_layout, 16))
      << "one microbatch a step";
  EXPECT_NE(group("data=2,zero=1", Determinism::same_layout, 16, true),
            group("data=2,zero=2", Determinism::same_layout, 16, true))
      << "two uses of a table, added up before the data ranks' sum or after it";
  EXPECT_NE(group("tensor=2"), group(""));
  EXPECT_NE(group("data=2"), group(""));
  EXPECT_EQ(group("data=2,zero=3", Determinism::layout_free), group("", Determinism::layout_free));
}

}  // namespace
}  // namespace tessera::test
