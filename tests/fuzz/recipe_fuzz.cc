// SPDX-License-Identifier: Apache-2.0
// Any bytes as a recipe file: a Recipe, or one RecipeFailure; never anything else.
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/base/check.h"
#include "launch/recipe/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::string text(reinterpret_cast<const char*>(data), size);
    const auto loaded = tessera::parse_recipe(text, "fuzz.yaml", {}, 2);
    tessera::parse_recipe(tessera::resolved_yaml(loaded, {}), "resolved.yaml", {}, 2);
  } catch (const tessera::RecipeFailure&) {
  }
  return 0;
}
