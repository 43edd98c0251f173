// SPDX-License-Identifier: Apache-2.0
// Whole models against somebody else's code, in f32 on one rank: logits, loss, every gradient and
// ten steps of AdamW.
#include <gtest/gtest.h>

#include "tests/support/golden.h"
#include "tests/support/golden_model.h"
#include "tests/support/temporary.h"
#include "trainer/generator.h"
#include "trainer/trainer.h"

namespace tessera::test {
namespace {

struct GoldenModels : testing::TestWithParam<const char*> {
  TemporaryDirectory directory;
  Communicators alone;
  GoldenModel model{GetParam()};
  Recipe recipe = model.recipe(directory.path());
  GoldenModels() { model.write_corpora(directory.path()); }
};

TEST_P(GoldenModels, HaveTheLogits) {
  LanguageModel language(recipe, Device{}, 16);
  model.load(language.weights());
  language.publish();
  for (size_t sequence = 0; sequence < model.tokens.size(); ++sequence) {
    const Tensor logits = language.logits(model.tokens[sequence]);
    std::vector<double> truth;
    flatten(model.golden["logits"][sequence], truth);
    ASSERT_EQ(static_cast<size_t>(logits.size()), truth.size());
    double largest = 0;
    for (size_t i = 0; i < truth.size(); ++i)
      largest = std::max(largest, std::abs(double{logits.as<float>()[i]} - truth[i]));
    EXPECT_LE(largest, 1e-4) << "sequence " << sequence;
  }
}

// The same text, generated token by token with a cache, is the one that whole sequences give.
TEST_P(GoldenModels, GenerateWhatTheirLogitsSay) {
  LanguageModel language(recipe, Device{}, 16);
  model.load(language.weights());
  language.publish();
  std::vector<int32_t> text(model.tokens[0].begin(), model.tokens[0].begin() + 4);
  const SamplingOptions greedy{.max_tokens = 10, .temperature = 0};
  const std::vector<int32_t> fresh = language.generate(text, greedy, [](int32_t) {});
  ASSERT_EQ(fresh.size(), 10u);
  for (const int32_t token : fresh) {
    const Tensor logits = language.logits(text);
    const float* last = logits.row<float>(logits.rows() - 1);
    EXPECT_EQ(token, std::max_element(last, last + logits.columns()) - last);
    text.push_back(token);
  }
}

TEST_P(GoldenModels, HaveTheLossAndEveryGradient) {
  Trainer trainer(recipe, Device{}, alone);
  model.load(trainer.weights());
  trainer.publish_weights();
  const StepReport report = trainer.step({});
  EXPECT_NEAR(report.loss, model.golden["loss"].get<double>(), 1e-5);
  Squares squares;
  add_squares(trainer.gradients(), report.grad_unscale, model.grads, squares);
  EXPECT_EQ(squares.size(), model.weights.size());
  for (const auto& [name, both] : squares)
    EXPECT_LE(std::sqrt(both.first), 1e-4 * std::sqrt(both.second)) << name;
}

TEST_P(GoldenModels, LearnAsThePublishedTrajectory) {
  Trainer trainer(recipe, Device{}, alone);
  model.load(trainer.weights());
  trainer.publish_weights();
  for (int step = 0; step < 10; ++step) {
    const StepReport report = trainer.step({});
    EXPECT_NEAR(report.loss, model.golden["train_loss"][step].get<double>(), 1e-3) << step;
    // An expert without tokens has no gradient there and is not even decayed: norms drift apart.
    EXPECT_NEAR(report.grad_norm / model.golden["train_grad_norm"][step].get<double>(), 1, 3e-3)
        << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenModels, testing::Values("deepseek_v2_tiny"));

}  // namespace
}  // namespace tessera::test
