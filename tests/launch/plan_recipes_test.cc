// SPDX-License-Identifier: Apache-2.0
// `tessera plan` of recipes as they are shipped, the largest with thousands of ranks.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/plan_verb.h"

namespace tessera {
namespace {

using testing::HasSubstr;

TEST(PlanOfRecipes, PlansEveryRecipeWeShip) {
  int recipes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kRecipes)) {
    if (entry.path().extension() != ".yaml") continue;
    ++recipes;
    const ProgramResult result = plan(entry.path(), {"--device", "h200-141g"});
    EXPECT_EQ(result.exit_code, 0) << entry.path() << ": " << result.err;
    EXPECT_EQ(result.err, "") << entry.path();
    for (const char* part : {"layout ", "model ", "schedule ", "memory of a rank", "fits "})
      EXPECT_THAT(result.out, HasSubstr(part)) << entry.path();
  }
  EXPECT_GT(recipes, 8);
}

// arXiv:2412.19437, 4.2.
TEST(PlanOfRecipes, PlansTheSchedulesOfDeepSeekV3) {
  const std::string recipe = kRecipes + "deepseek_v3.yaml";
  const auto json = planned(recipe, {"--device", "h200-141g"});
  EXPECT_EQ(json["tokens"], 14'800'000'000'000);
  EXPECT_EQ(json["microbatches"], 120);
  ASSERT_EQ(json["earlier_steps"].size(), 1u);
  const auto& first = json["earlier_steps"][0];
  EXPECT_EQ(first["sequences"], 3072);
  EXPECT_EQ(first["microbatches"], 24);
  EXPECT_EQ(first["schedule"], "zb_v");
  EXPECT_GE(json["needs"], first["needs"]);
  const std::string text = plan(recipe, {"--device", "h200-141g"}).out;
  EXPECT_THAT(text, HasSubstr("run        14.8T tokens = " + json["steps"].dump() + " steps\n"));
  EXPECT_THAT(text, HasSubstr("ramp       3072 to 15360 sequences a step over 469B tokens ("));
  EXPECT_THAT(text,
              HasSubstr("0.00022 to 10T tokens, cosine to 2.2e-05 at 14.3T tokens, 2.2e-05 to "
                        "14.633T tokens, 7.3e-06 to 14.8T tokens\n"));
  EXPECT_THAT(text,
              HasSubstr("bias       of experts moves by 0.001 to 14.3T tokens, then stays\n"));
  EXPECT_THAT(text, HasSubstr("mtp        weight 0.3 to 10T tokens, then 0.1\n"));
}

}  // namespace
}  // namespace tessera
