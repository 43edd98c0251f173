// SPDX-License-Identifier: Apache-2.0
// Recipes that are right: overrides, the resolved file, the schema, and those we ship.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "launch/recipe/fields.h"
#include "launch/recipe/reader.h"
#include "tests/support/program.h"

namespace tessera {
namespace {

const std::string kRecipe =
    "recipe: 1\n"
    "name: \"a \\\"b\\\" #1\\n\\ttab\"\n"
    "model:\n"
    "  vocab_size: 2Ki\n  hidden_size: 16\n  intermediate_size: 32\n"
    "  num_hidden_layers: 1\n  num_attention_heads: 2\n  rms_norm_eps: 1.0e-6\n"
    "data:\n"
    "  blend: [{path: \"x y\", weight: 0.7}, {path: b, weight: 0.3}]\n"
    "run: {steps: 1e3}\n"
    "optimizer: {betas: [0.9, 0.95], lr: 1e-3}\n"
    "checkpoint: {every: 30min, keep: {last: 2, every: 100}}\n";

std::string all_values(const Recipe& recipe) {
  std::string text;
  for (const RecipeField& field : recipe_fields())
    text += field.key + " = " + field.write(recipe) + "\n";
  return text;
}

TEST(Recipe, ValuesArriveWhereTheyBelong) {
  const Recipe recipe = parse_recipe(kRecipe, "a.yaml", {}, 2).recipe;
  EXPECT_EQ(recipe.name, "a \"b\" #1\n\ttab");
  EXPECT_EQ(recipe.model.vocab_size, 2048);
  EXPECT_EQ(recipe.run.steps, 1000);
  EXPECT_EQ(recipe.optimizer.lr, 1e-3);
  ASSERT_EQ(recipe.data.blend.size(), 2u);
  EXPECT_EQ(recipe.data.blend[0].path, "x y");
  EXPECT_EQ(recipe.data.blend[1].weight, 0.3);
  EXPECT_EQ(recipe.checkpoint.every_seconds, 1800);
  EXPECT_EQ(recipe.checkpoint.every_steps, 0);
  EXPECT_EQ(recipe.checkpoint.keep.last, 2);
}

const std::string kSchedules =
    "recipe: 1\nname: a\n"
    "model: {vocab_size: 64, hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, "
    "num_attention_heads: 2}\n"
    "data: {train: corpus}\n"
    "batch: {global: 16, micro: 2, ramp: {from: 4, increment: 6, tokens: 469B}}\n"
    "lr_schedule: {kind: phases, warmup_tokens: 8B, phases: [{tokens: 10T}, {shape: cosine, lr: "
    "2.2e-5, tokens: 4.3T}]}\n"
    "run: {tokens: 14.8T}\n";

TEST(Recipe, SchedulesInTokensArriveAndReadBack) {
  const LoadedRecipe loaded = parse_recipe(kSchedules, "a.yaml", {}, 1);
  const Recipe& recipe = loaded.recipe;
  EXPECT_EQ(recipe.run.steps, 0);
  EXPECT_EQ(recipe.run.tokens, 14'800'000'000'000);
  EXPECT_EQ(recipe.batch.ramp.from, 4);
  EXPECT_EQ(recipe.batch.ramp.tokens, 469'000'000'000);
  EXPECT_EQ(recipe.lr_schedule.warmup.tokens, 8'000'000'000);
  ASSERT_EQ(recipe.lr_schedule.phases.size(), 2u);
  EXPECT_FALSE(recipe.lr_schedule.phases[0].lr);
  EXPECT_EQ(recipe.lr_schedule.phases[1].lr, 2.2e-5);
  EXPECT_EQ(recipe.lr_schedule.phases[1].shape, LrShape::cosine);
  EXPECT_EQ(recipe.lr_schedule.phases[1].length.tokens, 4'300'000'000'000);
  const Recipe again = parse_recipe(resolved_yaml(loaded, {}), "resolved", {}, 1).recipe;
  EXPECT_EQ(all_values(again), all_values(recipe));
}

TEST(Recipe, AnOverrideInAnotherUnitTakesThePlaceOfTheFiles) {
  const LoadedRecipe loaded =
      parse_recipe(kSchedules, "a.yaml", {"run.steps=9", "lr_schedule.warmup_steps=3"}, 1);
  EXPECT_EQ(loaded.recipe.run.steps, 9);
  EXPECT_EQ(loaded.recipe.run.tokens, 0);
  EXPECT_EQ(loaded.recipe.lr_schedule.warmup.tokens, 0);
  EXPECT_EQ(loaded.origin.count("run.tokens"), 0u);
  EXPECT_EQ(parse_recipe(kSchedules, "a.yaml", {"batch.ramp=null"}, 1).recipe.batch.ramp.from, 0);
}

TEST(Recipe, OverridesWinAndTheLastOneCounts) {
  const LoadedRecipe loaded = parse_recipe(
      kRecipe, "a.yaml", {"run.steps=5", "optimizer.betas=[0.8, 0.9]", "run.steps=7"}, 0);
  EXPECT_EQ(loaded.recipe.run.steps, 7);
  EXPECT_EQ(loaded.recipe.optimizer.betas, (std::vector<double>{0.8, 0.9}));
  EXPECT_EQ(loaded.num_overrides, 3);
}

TEST(Recipe, TheResolvedFileReadsBackAsTheSameRecipe) {
  const LoadedRecipe loaded = parse_recipe(kRecipe, "a.yaml", {"run.seed=9"}, 0);
  const std::string resolved = resolved_yaml(loaded, {"made by a test"});
  const LoadedRecipe again = parse_recipe(resolved, "resolved", {}, 0);
  EXPECT_EQ(all_values(again.recipe), all_values(loaded.recipe)) << resolved;
  EXPECT_EQ(again.recipe.name, loaded.recipe.name);
  EXPECT_EQ(again.recipe.data.blend[0].path, "x y");
}

TEST(Recipe, TheResolvedFileTellsWhereEachValueCameFrom) {
  const std::string resolved =
      resolved_yaml(parse_recipe(kRecipe, "a.yaml", {"run.seed=9"}, 0), {"made by a test"});
  const auto origin_of = [&](const std::string& start) -> std::string {
    std::istringstream lines(resolved);
    for (std::string line; std::getline(lines, line);)
      if (line.rfind(start, 0) == 0) return line.substr(line.rfind("# ") + 2);
    return "no such line";
  };
  EXPECT_EQ(origin_of("# made by"), "made by a test");
  EXPECT_EQ(origin_of("  vocab_size: 2048"), "a.yaml:4");
  EXPECT_EQ(origin_of("  seed: 9"), "command line");
  EXPECT_EQ(origin_of("  rope_theta: 10000"), "default");
}

TEST(Recipe, RopeScalingMayBeAMapOrNull) {
  const std::string latent =
      "recipe: 1\nname: a\nmodel: {architecture: deepseek_v2, vocab_size: 64, hidden_size: 8, "
      "intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2, kv_lora_rank: 4, "
      "q_lora_rank: null, qk_nope_head_dim: 2, qk_rope_head_dim: 2, v_head_dim: 2, "
      "moe_intermediate_size: 4, n_routed_experts: 4, num_experts_per_tok: 2, "
      "norm_topk_prob: true, rope_scaling: {type: yarn, factor: 40, mscale_all_dim: 0.707}}\n"
      "data: {train: corpus}\nrun: {steps: 1}\n";
  const Recipe yarn = parse_recipe(latent, "a.yaml", {}, 0).recipe;
  EXPECT_EQ(yarn.model.rope_scaling.type, RopeType::yarn);
  EXPECT_EQ(yarn.model.rope_scaling.factor, 40);
  EXPECT_EQ(yarn.model.rope_scaling.mscale_all_dim, 0.707);
  EXPECT_EQ(yarn.model.norm_topk_prob, true);
  const Recipe plain = parse_recipe(latent, "a.yaml", {"model.rope_scaling=null"}, 0).recipe;
  EXPECT_FALSE(plain.model.rope_scaling.type.has_value());
  EXPECT_EQ(plain.model.rope_scaling.factor, 0);
}

TEST(Recipe, EveryDefaultReadsBackAsItself) {
  LoadedRecipe defaults;
  defaults.recipe.name = "defaults";
  defaults.recipe.model.vocab_size = defaults.recipe.model.hidden_size = 2;
  defaults.recipe.model.intermediate_size = defaults.recipe.model.num_hidden_layers = 1;
  defaults.recipe.model.num_attention_heads = 1;
  defaults.recipe.data.train = "null island";
  defaults.recipe.run.steps = 1;
  const LoadedRecipe again = parse_recipe(resolved_yaml(defaults, {}), "resolved", {}, 0);
  EXPECT_EQ(all_values(again.recipe), all_values(defaults.recipe));
}

TEST(Recipe, TheSchemaNamesEveryKeyOnce) {
  const auto schema = nlohmann::json::parse(recipe_schema());
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  std::vector<std::string> named;
  const std::function<void(const nlohmann::json&, const std::string&)> visit =
      [&](const nlohmann::json& node, const std::string& prefix) {
        EXPECT_EQ(node["additionalProperties"], false) << prefix;
        for (const auto& [key, value] : node["properties"].items()) {
          if (value.contains("properties"))
            visit(value, prefix + key + ".");
          else
            named.push_back(prefix + key);
          EXPECT_TRUE(value.contains("properties") || value.contains("description")) << key;
        }
      };
  visit(schema, "");
  std::vector<std::string> keys;
  for (const RecipeField& field : recipe_fields()) keys.push_back(field.key);
  std::sort(keys.begin(), keys.end());
  std::sort(named.begin(), named.end());
  EXPECT_EQ(named, keys);
}

TEST(Recipe, TheSchemaListsTheWordsOfAChoice) {
  const auto schema = nlohmann::json::parse(recipe_schema());
  EXPECT_EQ(schema["properties"]["precision"]["properties"]["compute"]["enum"],
            (std::vector<std::string>{"f32", "bf16", "f16"}));
}

TEST(Recipe, TheDocumentationHasTheseKeys) {
  const std::string docs = std::string(TESSERA_SOURCE_DIR) + "/docs/";
  EXPECT_TRUE(read_text(docs + "recipes.md").ends_with(recipe_keys_markdown()))
      << "append tessera recipe keys anew";
  EXPECT_TRUE(read_text(docs + "recipe.schema.json") == recipe_schema())
      << "tessera recipe schema > docs/recipe.schema.json";
}

// On two ranks, or as many as its layout names.
TEST(Recipe, EveryRecipeWeShipIsValid) {
  const std::string directory = std::string(TESSERA_SOURCE_DIR) + "/recipes";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "there is no " << directory;
  int recipes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (entry.path().extension() != ".yaml") continue;
    ++recipes;
    const std::string path = entry.path().string();
    const ParallelOptions parallel = load_recipe(path, {}, 0).recipe.parallel;
    const int64_t named = parallel.tensor * parallel.pipeline * parallel.data;
    EXPECT_NO_THROW(load_recipe(path, {}, named > 0 ? static_cast<int>(named) : 2)) << path;
  }
  EXPECT_GT(recipes, 0);
}

}  // namespace
}  // namespace tessera
