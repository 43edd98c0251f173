// SPDX-License-Identifier: Apache-2.0
#include "trainer/generator.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/numeric.h"
#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr int64_t kPositions = 24;
const std::vector<int32_t> kPrompt = {3, 1, 4, 1, 5};

// Weights so large that the most likely token changes from place to place.
void draw_weights(LanguageModel& model) {
  for (const StateEntry& entry : model.weights().entries) {
    const Philox philox{9, stream_named(entry.name)};
    for (int64_t i = 0; i < entry.tensor.size(); ++i)
      entry.tensor.as<float>()[i] =
          static_cast<float>(0.6 * philox.normal(static_cast<uint64_t>(i)));
  }
  model.publish();
}

struct Generation : testing::Test {
  LanguageModel model{tiny_recipe("", "f32"), Device{}, kPositions};
  std::vector<int32_t> told;

  Generation() { draw_weights(model); }
  std::vector<int32_t> generate(const SamplingOptions& options) {
    told.clear();
    return model.generate(kPrompt, options, [&](int32_t token) { told.push_back(token); });
  }
};

TEST_F(Generation, WithTheCacheIsTheArgmaxOfTheWholeForwardPassAtEveryStep) {
  const std::vector<int32_t> fresh = generate({.max_tokens = 15, .temperature = 0});
  ASSERT_EQ(fresh.size(), 15u);
  EXPECT_EQ(told, fresh);
  std::vector<int32_t> text = kPrompt;
  for (const int32_t token : fresh) {
    const Tensor logits = model.logits(text);
    const float* last = logits.row<float>(logits.rows() - 1);
    EXPECT_EQ(token, std::max_element(last, last + model.vocab_size()) - last)
        << "after " << text.size() << " tokens";
    text.push_back(token);
  }
  EXPECT_GT(std::set<int32_t>(fresh.begin(), fresh.end()).size(), 3u) << "too easy a test";
}

TEST_F(Generation, DependsOnTheSeedAloneAndStopsWhereItIsTold) {
  const SamplingOptions options{.max_tokens = 12, .temperature = 1.5, .seed = 5};
  const std::vector<int32_t> once = generate(options);
  EXPECT_EQ(generate(options), once);
  SamplingOptions other = options;
  other.seed = 6;
  EXPECT_NE(generate(other), once);
  SamplingOptions stopped = options;
  stopped.stop_token = once[4];
  const auto first = std::find(once.begin(), once.end(), once[4]);
  EXPECT_EQ(generate(stopped), std::vector<int32_t>(once.begin(), first));
  // A nucleus of nearly no probability is the most likely token.
  SamplingOptions nucleus = options;
  nucleus.top_p = 1e-6;
  EXPECT_EQ(generate(nucleus), generate({.max_tokens = 12, .temperature = 0}));
}

TEST_F(Generation, EndsAtTheLastPosition) {
  // The last position's output is one more token, which itself needs no position.
  EXPECT_EQ(static_cast<int64_t>(generate({.max_tokens = 1000, .temperature = 0}).size()),
            kPositions - static_cast<int64_t>(kPrompt.size()) + 1);
}

TEST_F(Generation, SumsTheLossesOfTheTokensAfterTheFirst) {
  const Tensor logits = model.logits(kPrompt);
  double expected = 0;
  for (size_t row = 0; row + 1 < kPrompt.size(); ++row) {
    const float* scores = logits.row<float>(static_cast<int64_t>(row));
    double sum = 0;
    for (int64_t i = 0; i < model.vocab_size(); ++i) sum += std::exp(double{scores[i]});
    expected += std::log(sum) - scores[kPrompt[row + 1]];
  }
  EXPECT_NEAR(model.loss(kPrompt), expected, 1e-4);
}

TEST_F(Generation, RefusesTokensAndLengthsThatTheModelLacks) {
  EXPECT_THAT(error_of([&] {
                model.logits(std::vector<int32_t>{1, 29});
              }),
              testing::AllOf(StartsWith("data"), HasSubstr("29")));
  EXPECT_THAT(error_of([&] { model.logits(std::vector<int32_t>(kPositions + 1, 0)); }),
              StartsWith("usage"));
  EXPECT_THAT(error_of([&] { model.generate({}, {}, [](int32_t) {}); }), StartsWith("usage"));
}

}  // namespace
}  // namespace tessera::test
