// SPDX-License-Identifier: Apache-2.0
// Training with experts: biases and losses even their load, experts move between ranks without a
// trace in the loss, and biases are part of what is saved.
#include "tests/support/numeric.h"
#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

Recipe moe_recipe(const std::string& tokens) {
  Recipe recipe = tiny_recipe(tokens);
  ModelOptions& model = recipe.model;
  model.architecture = Architecture::deepseek_v3;
  model.q_lora_rank = 0;
  model.kv_lora_rank = 8;
  model.qk_nope_head_dim = 4;
  model.qk_rope_head_dim = 4;
  model.v_head_dim = 4;
  model.num_key_value_heads = 0;
  model.num_hidden_layers = 3;
  model.first_k_dense_replace = 1;
  model.moe_intermediate_size = 12;
  model.n_routed_experts = 8;
  model.num_experts_per_tok = 2;
  model.n_shared_experts = 1;
  model.routed_scaling_factor = 2.5;
  recipe.batch.global = 16;
  return recipe;
}

struct Balance : testing::Test {
  TemporaryDirectory directory;
  std::string tokens;
  Balance() {
    tokens = directory / "corpus";
    write_tiny_tokens(tokens);
  }
  struct Result {
    std::vector<double> losses;
    double late_load = 0;  // mean of the last 20 steps
    double aux_loss = 0;
  };
  static Result train(const Recipe& recipe, const GridSizes& sizes) {
    const Communicators comms(world(), ProcessGrid(sizes));
    Trainer trainer(recipe, kCpu, comms);
    Result result;
    for (int64_t step = 0; step < recipe.run.steps; ++step) {
      const StepReport report = trainer.step({});
      result.losses.push_back(report.loss);
      if (step + 20 >= recipe.run.steps) result.late_load += report.expert_load() / 20;
      result.aux_loss = report.aux_loss;
    }
    return result;
  }
};

TEST_F(Balance, OfBiasesEvensTheLoadWithoutALoss) {
  const int n = world().size();
  Recipe recipe = moe_recipe(tokens);
  recipe.run.steps = 80;
  const Result plain = train(recipe, {.data = n, .expert = n});
  recipe.router.balance = tessera::Balance::aux_free;
  recipe.router.bias_update_speed = 0.01;
  const Result even = train(recipe, {.data = n, .expert = n});
  EXPECT_GT(plain.late_load, 1.5);
  EXPECT_LT(even.late_load, 1.4);
  EXPECT_LT(even.losses.back(), 0.8 * even.losses.front());
  EXPECT_EQ(even.aux_loss, 0);
}

TEST_F(Balance, OfALossEvensTheLoadAndIsReported) {
  const int n = world().size();
  Recipe recipe = moe_recipe(tokens);
  recipe.run.steps = 80;
  const Result plain = train(recipe, {.data = n});
  recipe.router.sequence_aux_loss = 0.1;
  const Result even = train(recipe, {.data = n});
  EXPECT_LT(even.late_load, plain.late_load);
  EXPECT_NEAR(even.aux_loss, 2 * 0.1, 0.05);  // two layers; f P is 1 where the load is even
}

TEST_F(Balance, ExpertsMayMoveBetweenRanksWhileTheModelLearns) {
  const int n = world().size();
  for (const int64_t zero : {0, 1, 3}) {
    Recipe recipe = moe_recipe(tokens);
    recipe.run.steps = 12;
    recipe.parallel.zero = zero;
    const Result still = train(recipe, {.data = n, .expert = n});
    recipe.router.rebalance_every = 3;
    const Result moved = train(recipe, {.data = n, .expert = n});
    for (size_t step = 0; step < still.losses.size(); ++step)
      EXPECT_NEAR(still.losses[step], moved.losses[step], 1e-6)
          << "zero " << zero << " step " << step;
  }
}

// Stacks so large that ZeRO cuts them by rows, between and within experts.
TEST_F(Balance, ExpertsMayMoveWhereZeroCutsThem) {
  if (world().size() != 4) GTEST_SKIP() << "wants 4 ranks";
  for (const int64_t zero : {1, 2, 3}) {
    Recipe recipe = moe_recipe(tokens);
    recipe.model.hidden_size = 64;
    recipe.model.moe_intermediate_size = 136;
    recipe.run.steps = 7;
    recipe.parallel.zero = zero;
    const Result still = train(recipe, {.data = 4, .expert = 2});
    recipe.router.rebalance_every = 3;
    const Result moved = train(recipe, {.data = 4, .expert = 2});
    for (size_t step = 0; step < still.losses.size(); ++step)
      EXPECT_NEAR(still.losses[step], moved.losses[step], 1e-6)
          << "zero " << zero << " step " << step;
  }
}

TEST_F(Balance, EveryLayoutLearnsTheSame) {
  const int n = world().size();
  Recipe recipe = moe_recipe(tokens);
  recipe.run.steps = 6;
  recipe.router.balance = tessera::Balance::aux_free;
  recipe.router.sequence_aux_loss = 0.01;
  const Result truth = train(recipe, {.data = n});
  for (const GridSizes& sizes :
       {GridSizes{.data = n, .expert = n}, GridSizes{.data = n, .expert_tensor = n},
        GridSizes{.tensor = n, .expert = n}}) {
    const Result other = train(recipe, sizes);
    EXPECT_NEAR(other.aux_loss, truth.aux_loss, 1e-4);
    for (size_t step = 0; step < truth.losses.size(); ++step)
      EXPECT_NEAR(other.losses[step], truth.losses[step], 2e-4)
          << ProcessGrid(sizes).to_string() << " step " << step;
  }
}

TEST_F(Balance, OfBiasesIsSavedUnderHuggingFacesName) {
  Recipe recipe = moe_recipe(tokens);
  recipe.router.balance = tessera::Balance::aux_free;
  const Communicators comms(world(), ProcessGrid(GridSizes{.data = world().size()}));
  Trainer trainer(recipe, kCpu, comms);
  trainer.step({});
  int found = 0;
  for (const StateEntry& entry : trainer.state().entries)
    if (entry.name.find("e_score_correction_bias") != std::string::npos) {
      ++found;
      double largest = 0;
      for (const double bias : values_of(entry.tensor)) largest = std::max(largest, std::abs(bias));
      EXPECT_EQ(largest, static_cast<double>(0.001f)) << entry.name;
    }
  EXPECT_EQ(found, 2);
}

}  // namespace
}  // namespace tessera::test
