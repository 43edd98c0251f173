// SPDX-License-Identifier: Apache-2.0
// Runs `tessera plan` in tests: what it prints, or its --json parsed.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/program.h"

namespace tessera {

inline const std::string kRecipes = std::string(TESSERA_SOURCE_DIR) + "/recipes/";

inline ProgramResult plan(const std::string& recipe, const std::vector<std::string>& more = {}) {
  std::vector<std::string> words = {TESSERA_BINARY, "plan", recipe};
  words.insert(words.end(), more.begin(), more.end());
  return run_program(words);
}

inline nlohmann::json planned(const std::string& recipe, std::vector<std::string> more) {
  more.push_back("--json");
  const ProgramResult result = plan(recipe, more);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return nlohmann::json::parse(result.out);
}

}  // namespace tessera
