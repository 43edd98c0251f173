// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe/changes.h"

#include <algorithm>
#include <array>

#include "data/hash.h"
#include "launch/recipe/fields.h"

namespace tessera {
namespace {

// Makes every choice that is left to the architecture, and resets what means nothing.
Recipe settled(Recipe recipe) {
  ModelOptions& model = recipe.model;
  model.num_key_value_heads = model.kv_heads();
  if (model.num_attention_heads > 0) model.head_dim = model.head_size();
  model.scoring_func = model.scoring();
  model.topk_method = model.selection();
  model.norm_topk_prob = model.normalizes_topk();
  if (!model.rope_scaling.type) model.rope_scaling = {};
  return recipe;
}

bool computes_other(const std::string& key) {
  // Initial values are over once weights are loaded, and more positions are only a larger table.
  constexpr std::array kHarmless = {"model.initializer_range", "model.scale_residual_init",
                                    "model.max_position_embeddings"};
  return key.starts_with("model.") &&
         std::find(kHarmless.begin(), kHarmless.end(), key) == kHarmless.end();
}

}  // namespace

std::string recipe_hash(const Recipe& recipe) {
  const Recipe whole = settled(recipe);
  Sha256 hash;
  for (const RecipeField& field : recipe_fields())
    hash.update(field.key + ": " + field.write(whole) + "\n");
  return "sha256:" + hash.hex();
}

std::vector<RecipeChange> recipe_changes(const Recipe& before, const Recipe& now) {
  const Recipe then = settled(before), today = settled(now);
  std::vector<RecipeChange> changes;
  for (const RecipeField& field : recipe_fields()) {
    const std::string x = field.write(then), y = field.write(today);
    if (x != y) changes.push_back({field.key, x, y, computes_other(field.key)});
  }
  return changes;
}

}  // namespace tessera
