// SPDX-License-Identifier: Apache-2.0
// Compares two recipes key by key, and gives the hash by which equal ones are known.
#pragma once

#include <string>
#include <vector>

#include "trainer/recipe.h"

namespace tessera {

// Returns "sha256:HEX" of all keys with their values, wherever these came from and in whatever
// notation.
std::string recipe_hash(const Recipe& recipe);

struct RecipeChange {
  std::string key;
  std::string before, now;  // as YAML, on one line
  bool computes_other;      // the same weights compute something else: `model` but for its
                            // initial values and the number of positions
};

// Lists the keys whose values differ, in the order of the key table. A value that is left to the
// architecture (model.num_key_value_heads, scoring_func ...) equals the same value given.
std::vector<RecipeChange> recipe_changes(const Recipe& before, const Recipe& now);

}  // namespace tessera
