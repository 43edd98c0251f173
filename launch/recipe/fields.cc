// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe/fields.h"

#include "launch/recipe/rows.h"
#include "launch/recipe/sections.h"

namespace tessera {
namespace {

std::vector<RecipeField> make_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(integer_row(
      "recipe", [](R & r) -> auto& { return r.version; }, "format version of this file: 1"));
  add(text_row(
      "name", [](R & r) -> auto& { return r.name; }, "names the run directory runs/NAME"));
  for (const auto section :
       {model_fields, data_fields, optimizer_fields, router_fields, run_fields})
    for (RecipeField& row : section()) add(std::move(row));
  return rows;
}

}  // namespace

const std::vector<RecipeField>& recipe_fields() {
  static const std::vector<RecipeField> fields = make_fields();
  return fields;
}

const std::vector<ForeignKey>& foreign_keys() {
  const std::string save = "this version writes each checkpoint itself, at once, in one place";
  static const std::vector<ForeignKey> keys = {
      {"learning_rate", "it belongs to `optimizer.lr`"},
      {"lr", "it belongs to `optimizer.lr`"},
      {"weight_decay", "it belongs to `optimizer.weight_decay`"},
      {"max_steps", "it belongs to `run.steps`"},
      {"seq_length", "it belongs to `data.sequence_length`"},
      {"micro_batch_size", "it belongs to `batch.micro`"},
      {"global_batch_size", "it belongs to `batch.global`"},
      {"model.rope_scaling.rope_type", "it belongs to `model.rope_scaling.type`"},
      {"checkpoint.async", save},
      {"checkpoint.redundancy", save},
      {"checkpoint.writers_per_node", save},
      {"checkpoint.mirror", save},
      {"on_failure.restarts",
       "restarts belong to tessera launch, which this version does not have"},
      {"metrics.prometheus", "this version writes metrics.jsonl and TensorBoard events"}};
  return keys;
}

}  // namespace tessera
