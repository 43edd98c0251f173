// SPDX-License-Identifier: Apache-2.0
// Numbers that cannot be counted are refused by name before anything multiplies them.
#include "trainer/size_rules.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

using testing::Contains;
using testing::Field;

constexpr int64_t kBeyondInt = int64_t{1} << 32;
constexpr int64_t kLargest = 9'000'000'000'000'000;  // a recipe reads no larger number

struct Case {
  const char* key;
  std::function<void(Recipe&)> change;
};

const std::vector<Case> kCases = {
    {"batch.global",
     [](Recipe& r) {
       r.batch.global = kBeyondInt + 4;
       r.batch.micro = 1;
     }},
    {"batch.global",  // a plan would list them all
     [](Recipe& r) {
       r.batch.global = 1 << 30;
       r.batch.micro = 1;
     }},
    {"batch.micro", [](Recipe& r) { r.batch.micro = kBeyondInt; }},
    {"batch.micro",
     [](Recipe& r) {
       r.batch.global = r.batch.micro = 1 << 20;
       r.data.sequence_length = 1 << 20;
     }},
    {"data.sequence_length", [](Recipe& r) { r.data.sequence_length = kBeyondInt; }},
    {"parallel.tensor", [](Recipe& r) { r.parallel.tensor = kBeyondInt + 1; }},
    {"parallel.pipeline", [](Recipe& r) { r.parallel.pipeline = kLargest; }},
    {"parallel.chunks", [](Recipe& r) { r.parallel.chunks = kBeyondInt + 2; }},
    {"model.num_hidden_layers", [](Recipe& r) { r.model.num_hidden_layers = 1'000'000'000; }},
    {"model.num_attention_heads", [](Recipe& r) { r.model.num_attention_heads = kBeyondInt; }},
    {"model.vocab_size", [](Recipe& r) { r.model.vocab_size = kBeyondInt; }},
    {"model.hidden_size", [](Recipe& r) { r.model.hidden_size = kLargest; }},
    {"run.steps", [](Recipe& r) { r.run.steps = int64_t{1} << 60; }},
};

TEST(SizeRules, NameTheKeyOfEveryNumberThatCannotBeCounted) {
  EXPECT_TRUE(validate(tiny_recipe("corpus"), 1).empty());
  for (const int ranks : {0, 1})
    for (const Case& one : kCases) {
      if (ranks == 0 && &one == &kCases[1]) continue;  // the number of ranks decides
      Recipe recipe = tiny_recipe("corpus");
      one.change(recipe);
      EXPECT_THAT(validate(recipe, ranks), Contains(Field(&RecipeProblem::key, one.key)))
          << one.key << " on " << ranks;
    }
}

TEST(SizeRules, LeaveTheLargestModelsAlone) {
  Recipe recipe = tiny_recipe("corpus");
  recipe.run.steps = 100'000'000;
  recipe.batch.global = 1 << 16;
  Problems problems;
  EXPECT_TRUE(check_sizes(recipe, problems));
  EXPECT_TRUE(problems.found.empty());
}

}  // namespace
}  // namespace tessera::test
