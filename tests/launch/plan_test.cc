// SPDX-License-Identifier: Apache-2.0
// `tessera plan` as people and scripts call it, and the pictures in docs/ that it drew.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/recipe/reader.h"
#include "tests/support/plan_verb.h"

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

using Words = std::vector<std::string>;

TEST(PlanVerb, PlansALayoutOf4096Ranks) {
  const auto json = planned(kRecipes + "llama_70b.yaml", {"--device", "h200-141g"});
  EXPECT_EQ(json["ranks"], 4096);
  EXPECT_EQ(json["parameters"], 70553706496);
  EXPECT_EQ(json["checkpoint_bytes"], 70553706496 * 12);
  EXPECT_TRUE(json["fits"]);
  ASSERT_EQ(json["by_pipeline_coordinate"].size(), 16u);
  for (const auto& rank : json["by_pipeline_coordinate"]) {
    EXPECT_EQ(rank["rank"], 256 * rank["pipeline"].get<int>());
    EXPECT_LE(rank["peak"], json["needs"]);
    EXPECT_GT(rank["memory"]["weights"], 2 * rank["parameters"].get<int64_t>() - 1);
    EXPECT_FALSE(rank["communication"].empty());
  }
}

TEST(PlanVerb, TakesAsFewRanksAsTheLayoutNeeds) {
  EXPECT_EQ(planned(kRecipes + "forms/combined.yaml", {})["ranks"], 4);
  EXPECT_EQ(planned(kRecipes + "forms/combined.yaml", {"parallel.data=2"})["ranks"], 8);
  EXPECT_EQ(planned(kRecipes + "quickstart.yaml", {"-n", "4"})["layout"]["data"], 4);
}

TEST(PlanVerb, RefusesWhatDoesNotFitAndNamesAChangeThatDoes) {
  const std::string recipe = kRecipes + "llama_124m.yaml";
  const Words wish = {"--device", "h100-80g", "-n", "2", "batch.global=1024", "batch.micro=512"};
  const ProgramResult result = plan(recipe, wish);
  EXPECT_EQ(result.exit_code, 5);
  EXPECT_THAT(result.out, StartsWith("recipe ")) << "the table is shown all the same";
  EXPECT_THAT(result.err, HasSubstr("would need "));
  EXPECT_THAT(result.err, HasSubstr(", device has 79.1 GiB (h100-80g): weights "));
  const size_t at = result.err.find("Cheapest change that fits: ");
  ASSERT_NE(at, std::string::npos) << result.err;
  std::string change = result.err.substr(at + std::string("Cheapest change that fits: ").size());
  change = change.substr(0, change.find(" (-"));
  Words changed = wish;
  changed.push_back(change);
  EXPECT_EQ(plan(recipe, changed).exit_code, 0) << change;
  Words as_json = wish;
  as_json.push_back("--json");
  const auto json = nlohmann::json::parse(plan(recipe, as_json).out);
  EXPECT_FALSE(json["fits"]);
  EXPECT_EQ(json["cheapest_change"], change);
}

TEST(PlanVerb, NamesLegalLayoutsWhereOneDoesNotMultiplyOut) {
  for (const Words& verb : {Words{"plan"}, Words{"recipe", "check"}}) {
    Words words = {TESSERA_BINARY};
    words.insert(words.end(), verb.begin(), verb.end());
    for (const char* word : {"-n", "16", "parallel.tensor=2", "parallel.pipeline=3",
                             "parallel.data=auto", "batch.global=32"})
      words.push_back(word);
    words.insert(words.begin() + 1 + static_cast<std::ptrdiff_t>(verb.size()),
                 kRecipes + "forms/tensor.yaml");
    const ProgramResult result = run_program(words);
    EXPECT_EQ(result.exit_code, 5);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("= 6 does not divide 16 ranks"));
    EXPECT_THAT(result.err,
                HasSubstr("\n  legal with 16 ranks: tensor 2 pipeline 4 data 2 | tensor 2 "));
  }
}

TEST(PlanVerb, KnowsItsDevices) {
  const ProgramResult result = plan(kRecipes + "quickstart.yaml", {"--device", "abacus"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("cpu | h200-141g | h100-80g | a100-80g"));
}

// docs/parallelism.md names the command that made them.
TEST(PlanVerb, DrawsThePicturesOfTheDocumentation) {
  const TemporaryDirectory directory;
  int pictures = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(TESSERA_SOURCE_DIR) + "/docs/pictures")) {
    ++pictures;
    const std::string schedule = entry.path().stem(), path = directory / schedule;
    const ProgramResult result =
        plan(kRecipes + "forms/pipeline.yaml",
             {"parallel.pipeline=4", "model.num_hidden_layers=32", "model.vocab_size=64",
              "parallel.schedule=" + schedule, "--picture", path});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(read_text(path), read_text(entry.path())) << "plan draws " << schedule << " anew";
  }
  EXPECT_EQ(pictures, 7) << "one for every schedule";
}

}  // namespace
}  // namespace tessera
