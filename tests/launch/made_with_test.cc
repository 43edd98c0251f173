// SPDX-License-Identifier: Apache-2.0
// A checkpoint tells what it was made with; changes since are refused, allowed or told.
#include "launch/run/made_with.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launch/build_id.h"
#include "launch/recipe/changes.h"
#include "launch/recipe/reader.h"
#include "tests/support/errors.h"

namespace tessera {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kTrain = "sha256:" + std::string(64, 'a') + " 4096";
const std::string kOther = "sha256:" + std::string(64, 'b') + " 4096";

LoadedRecipe recipe(const std::vector<std::string>& overrides = {}) {
  return parse_recipe(
      "recipe: 1\n"
      "name: small\n"
      "model: {architecture: llama, vocab_size: 260, hidden_size: 32, intermediate_size: 80,\n"
      "        num_hidden_layers: 2, num_attention_heads: 4}\n"
      "data: {train: a, sequence_length: 32}\n"
      "run: {steps: 2}\n",
      "small.yaml", overrides, 0);
}

MadeWith made(const std::string& tokenizer = "sha256:11", std::vector<std::string> train = {kTrain},
              const std::string& program = "tessera 1") {
  return {tokenizer, std::move(train), "77", recipe_hash(recipe().recipe), program};
}

Manifest manifest(const std::optional<MadeWith>& with = made()) {
  Manifest saved;
  saved.recipe = resolved_yaml(recipe(), {});
  if (with) saved.scalars = scalars_of(*with);
  return saved;
}

// Returns what refuse_changes() says to --allow-changed LIST.
std::string refusal(const Manifest& saved, const std::vector<std::string>& overrides,
                    const MadeWith& now, const std::string& allowed = "") {
  const auto changes = changes_since(saved, recipe(overrides).recipe, now);
  return error_of([&] { refuse_changes(changes, parse_allowed(allowed), "run/step-2"); });
}

TEST(MadeWith, StandsInTheScalarsAndComesBack) {
  const MadeWith both = made("sha256:11", {kTrain, "512"});
  const auto scalars = scalars_of(both);
  EXPECT_EQ(scalars.at("made_with.train"), kTrain + ",512");
  const MadeWith back = made_with(scalars).value();
  EXPECT_EQ(scalars_of(back), scalars);
  EXPECT_EQ(back.train, both.train);
  EXPECT_FALSE(made_with(std::map<std::string, std::string>{{"step", "2"}}).has_value());
}

TEST(MadeWith, NothingThatChangedIsNothingSaid) {
  EXPECT_THAT(changes_since(manifest(), recipe().recipe, made()), ElementsAre());
  EXPECT_EQ(in_one_line({}), "");
}

TEST(MadeWith, AnotherTokenizerIsRefusedWithBothHashesAndTheFlag) {
  EXPECT_THAT(refusal(manifest(), {}, made("sha256:22")),
              AllOf(StartsWith("data: run/step-2 "), HasSubstr("sha256:11 and is sha256:22"),
                    HasSubstr("--allow-changed tokenizer")));
  EXPECT_EQ(refusal(manifest(), {}, made("sha256:22"), "tokenizer"), "no error");
}

TEST(MadeWith, OtherTrainingDataAreRefused) {
  for (const std::vector<std::string>& train :
       {std::vector{kOther}, {kTrain, kTrain}, {"sha256:" + std::string(64, 'a') + " 4098"}}) {
    EXPECT_THAT(refusal(manifest(), {}, made("sha256:11", train)),
                AllOf(StartsWith("data: "), HasSubstr("sha256:aaaaaaaaaaaaaaaa (4096 bytes)"),
                      HasSubstr("--allow-changed data")));
    EXPECT_EQ(refusal(manifest(), {}, made("sha256:11", train), "model,data"), "no error");
  }
  // Without PREFIX.json nothing but the size can be compared.
  EXPECT_EQ(refusal(manifest(), {}, made("sha256:11", {"4096"})), "no error");
  EXPECT_THAT(refusal(manifest(), {}, made("sha256:11", {"4098"})), HasSubstr("4098 bytes"));
}

TEST(MadeWith, AModelThatComputesSomethingElseIsRefused) {
  for (const char* key :
       {"model.rope_theta=100", "model.rms_norm_eps=0.1", "model.num_attention_heads=8",
        "model.num_hidden_layers=1", "model.tie_word_embeddings=true"})
    EXPECT_THAT(refusal(manifest(), {key}, made()),
                AllOf(StartsWith("usage: "), HasSubstr("--allow-changed model")))
        << key;
  EXPECT_EQ(refusal(manifest(), {"model.rope_theta=100"}, made(), "model"), "no error");
  EXPECT_THAT(refusal(manifest(), {"model.rope_theta=100"}, made("sha256:22")),
              AllOf(StartsWith("usage: "), HasSubstr("rope_theta was 10000 and is 100"),
                    HasSubstr("--allow-changed model,tokenizer")));
}

TEST(MadeWith, AnotherOptimizerIsRefusedByWhoGoesOnTrainingAlone) {
  const Changed other{Changed::Kind::harmless, "optimizer.name", "adamw", "lion"};
  EXPECT_THAT(
      error_of([&] { refuse_other_optimizer({other}, "runs/a/step-2"); }),
      AllOf(StartsWith("usage: "),
            HasSubstr("runs/a/step-2 holds the state of the optimizer adamw"),
            HasSubstr("from which lion cannot go on"), HasSubstr("--init-from runs/a/step-2")));
  EXPECT_EQ(error_of([&] { refuse_changes({other}, {}, "runs/a/step-2"); }), "no error")
      << "weights alone are read by eval and generate";
}

TEST(MadeWith, TheSameFunctionInOtherWordsIsNotRefused) {
  for (const char* key : {"model.num_key_value_heads=4", "model.head_dim=8",
                          "model.initializer_range=0.5", "model.max_position_embeddings=64"})
    EXPECT_EQ(refusal(manifest(), {key}, made()), "no error") << key;
  EXPECT_EQ(recipe_hash(recipe({"model.num_key_value_heads=4"}).recipe),
            recipe_hash(recipe().recipe));
}

TEST(MadeWith, TheRestIsToldInOneLine) {
  const auto changes =
      changes_since(manifest(), recipe({"optimizer.lr=5e-3", "data.seed=7"}).recipe,
                    made("sha256:11", {kTrain}, "tessera 2"));
  const std::string line = in_one_line(changes);
  for (const char* part :
       {"optimizer.lr 0.001 -> 0.005", "data.seed 1234 -> 7", "the program tessera 1 -> tessera 2"})
    EXPECT_THAT(line, HasSubstr(part));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(error_of([&] { refuse_changes(changes, {}, "run"); }), "no error");
}

TEST(MadeWith, ACheckpointThatDoesNotTellIsNotRefused) {
  EXPECT_EQ(refusal(manifest(std::nullopt), {"model.rope_theta=100"}, made()), "no error");
  Manifest unreadable = manifest();
  unreadable.recipe = "recipe: 1\nkey_of_another_version: 3\n";
  EXPECT_EQ(refusal(unreadable, {"model.rope_theta=100"}, made()), "no error");
}

TEST(MadeWith, TheFlagTakesAListOfThreeWords) {
  EXPECT_EQ(parse_allowed("").size(), 0u);
  EXPECT_EQ(parse_allowed("data,model,tokenizer").size(), 3u);
  EXPECT_THAT(error_of([] { parse_allowed("data,everything"); }),
              HasSubstr("wants a list of model, tokenizer and data"));
}

TEST(MadeWith, ARankWithOtherFilesIsNamedWithTheFile) {
  const Recipe all = recipe().recipe;
  const auto difference = [&](const MadeWith& other) {
    return error_of([&] { require_equal_files(all, {made(), made(), other}); });
  };
  EXPECT_EQ(difference(made("sha256:11", {kTrain}, "another build")), "no error");
  EXPECT_THAT(difference(made("sha256:22")),
              HasSubstr("rank 2 reads another tokenizer than rank 0: sha256:22, not sha256:11"));
  EXPECT_THAT(difference(made("sha256:11", {kOther})),
              HasSubstr("rank 2 reads another token file a.bin than rank 0"));
}

TEST(Program, IsKnownByItsBuild) {
  EXPECT_EQ(build_id().find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(build_id(), build_id());
  EXPECT_THAT(program_identity(), StartsWith("tessera "));
}

}  // namespace
}  // namespace tessera
