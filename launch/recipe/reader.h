// SPDX-License-Identifier: Apache-2.0
// A recipe file and `key=value` overrides -> Recipe, with the origin of every value. All errors of
// a file are reported at once, each with file, line, column, a caret and the nearest key.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "launch/recipe/node.h"
#include "trainer/recipe.h"

namespace tessera {

struct LoadedRecipe {
  Recipe recipe;
  std::string path;                         // of the file; "" when it came from a checkpoint
  std::string source;                       // its text
  std::map<std::string, TextPlace> origin;  // key -> where it was given; absent: default
  int num_overrides = 0;
};

// One error to print as it is: every problem rendered, and the exit code of the first.
struct RecipeFailure : std::runtime_error {
  RecipeFailure(const std::string& text, int code) : std::runtime_error(text), exit_code(code) {}
  int exit_code;
};

// num_ranks: of this job; 0: check everything that does not depend on it.
// Throws RecipeFailure, or Error{usage} when the file cannot be read.
LoadedRecipe load_recipe(const std::string& path, const std::vector<std::string>& overrides,
                         int num_ranks);
LoadedRecipe parse_recipe(const std::string& text, const std::string& path,
                          const std::vector<std::string>& overrides, int num_ranks);

// Every key with its value and, as a comment, where it came from: recipe.resolved.yaml.
// `header`: comment lines on top (version, machine), without '#'.
std::string resolved_yaml(const LoadedRecipe& loaded, const std::vector<std::string>& header);

// JSON Schema (draft 2020-12) of recipe files, for editors.
std::string recipe_schema();

// Tables of all keys, by section, for docs/recipes.md.
std::string recipe_keys_markdown();

}  // namespace tessera
