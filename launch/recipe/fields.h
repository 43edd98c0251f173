// SPDX-License-Identifier: Apache-2.0
// The table of all recipe keys: how each is read, written and explained. Adding a key is a field in
// trainer/recipe.h and a row of its section; the schema, `recipe show` and the documentation
// page follow from the table.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "launch/recipe/node.h"
#include "trainer/recipe.h"

namespace tessera {

struct RecipeField {
  std::string key;   // "optimizer.lr"
  std::string type;  // JSON Schema type: integer | number | boolean | string | array
  std::vector<std::string> choices;  // of a string; empty: any
  std::string doc;
  // Throws ScalarError when the node is not of this kind.
  std::function<void(Recipe&, const RecipeNode&)> read;
  std::function<std::string(const Recipe&)> write;  // as YAML, on one line
  // The key of the same quantity in another unit: given on the command line, one takes the other's
  // place.
  std::string rival{};
};

const std::vector<RecipeField>& recipe_fields();

// Keys that people know from elsewhere or from later versions, and what to tell them.
struct ForeignKey {
  std::string key;
  std::string advice;
};
const std::vector<ForeignKey>& foreign_keys();

}  // namespace tessera
