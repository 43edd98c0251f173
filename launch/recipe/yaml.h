// SPDX-License-Identifier: Apache-2.0
// YAML text -> RecipeNode, strictly: one document, a map at the top, no tags, anchors, aliases or
// merge keys, no duplicate keys, quotes closed on their line. The only home of yaml-cpp, which
// accepts all of these.
#pragma once

#include <string>
#include <vector>

#include "launch/recipe/node.h"

namespace tessera {

// Appends what is wrong to `errors`; the tree is complete only when nothing was.
RecipeNode parse_yaml(const std::string& text, const std::string& file,
                      std::vector<RecipeError>& errors);

// The value of a `key=value` override: one line of YAML.
RecipeNode parse_yaml_value(const std::string& text, std::vector<RecipeError>& errors);

}  // namespace tessera
