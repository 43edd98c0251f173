// SPDX-License-Identifier: Apache-2.0
// Whole models against somebody else's code, in f32 on one rank: logits, loss, every gradient and
// ten steps of AdamW.
#include <cstring>
#include <optional>

#include <gtest/gtest.h>

#include "kernels/base/exact_sum.h"
#include "tests/support/golden.h"
#include "tests/support/golden_model.h"
#include "tests/support/temporary.h"
#include "trainer/generator.h"
#include "trainer/model_state.h"
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

// One microbatch of all sequences; the last row of each predicts nothing.
TEST_P(GoldenModels, HaveTheLossAndEveryGradient) {
  Stream stream{Device{}};
  ParameterStore store;
  std::optional<Routing> routing;
  if (recipe.model.has_experts()) routing.emplace(stream, recipe.model, 24);
  const LayerContext context{.stream = stream,
                             .store = store,
                             .comms = alone,
                             .dtype = DType::f32,
                             .routing = routing ? &*routing : nullptr};
  const auto stage = build_stage(context, {.model = recipe.model, .positions = 16});
  store.allocate(Device{}, DType::f32);
  State state = weights_of(store, alone);
  if (routing) add_biases(*routing, recipe.model, true, state);
  model.load(state);
  EXPECT_EQ(state.entries.size(), model.weights.size());
  store.publish(stream, alone);

  MicroBatch batch;
  batch.num_sequences = static_cast<int64_t>(model.tokens.size());
  const auto length = static_cast<int64_t>(model.tokens[0].size());
  for (const std::vector<int32_t>& sequence : model.tokens)
    for (size_t i = 0; i < sequence.size(); ++i) {
      batch.tokens.push_back(sequence[i]);
      batch.targets.push_back(i + 1 < sequence.size() ? sequence[i + 1] : -1);
      batch.positions.push_back(static_cast<int32_t>(i));
    }
  const double targets = static_cast<double>(batch.num_sequences * (length - 1));
  Micro micro = to_micro(stream, batch, length);
  micro.dloss = 1 / targets;
  Gradients gradients(stream, store, alone);
  gradients.begin_step(false);
  stage->begin_step({micro}, gradients);
  stage->forward(0, 0, {});
  stage->backward(0, 0, {});
  stage->end_step();
  gradients.finish();

  ExactSum loss;
  std::memcpy(loss.words().data(), stage->loss_words().data(), sizeof(int64_t) * ExactSum::kWords);
  EXPECT_NEAR(loss.round() / targets, model.golden["loss"].get<double>(), 1e-5);
  Squares squares;
  add_squares(gradients_of(store, alone), 1, model.grads, squares);
  for (const auto& [name, gradient] : model.grads) EXPECT_TRUE(squares.contains(name)) << name;
  for (const auto& [name, both] : squares)
    EXPECT_LE(std::sqrt(both.first), 1e-4 * std::sqrt(both.second)) << name;
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenModels,
                         testing::Values("deepseek_v2_tiny", "deepseek_v3_random",
                                         "deepseek_v3_yarn_random", "llama_random"));

TEST(GoldenTrajectory, IsThePublishedOne) {
  const GoldenModel model("deepseek_v2_tiny");
  const TemporaryDirectory directory;
  const Communicators alone;
  model.write_corpora(directory.path());
  Trainer trainer(model.recipe(directory.path()), Device{}, alone);
  model.load(trainer.weights());
  trainer.publish_weights();
  for (int step = 0; step < 10; ++step) {
    const StepReport report = trainer.step({});
    const auto golden = [&](const char* key) { return model.golden[key][step].get<double>(); };
    EXPECT_NEAR(report.loss, golden("train_loss"), 1e-3) << step;
    // An expert without tokens has no gradient there and is not even decayed: norms drift apart
    // from those where every expert is updated.
    EXPECT_NEAR(report.grad_norm / golden("train_grad_norm"), 1, 3e-3) << step;
    EXPECT_NEAR(report.loss, golden("every_expert_train_loss"), 1e-5) << step;
    EXPECT_NEAR(report.grad_norm / golden("every_expert_train_grad_norm"), 1, 1e-5) << step;
  }
}

}  // namespace
}  // namespace tessera::test
