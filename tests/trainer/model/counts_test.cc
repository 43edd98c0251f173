// SPDX-License-Identifier: Apache-2.0
// Sizes of published models, from their config.json, to the last unit.
#include "trainer/model/counts.h"

#include <gtest/gtest.h>

#include "tests/support/deepseek_models.h"

namespace tessera::test {
namespace {

TEST(Counts, OfThePublishedModelsAreExact) {
  EXPECT_EQ(num_parameters(deepseek_v3()), 671026419200);
  EXPECT_EQ(num_parameters(deepseek_v2()), 235741434880);
  EXPECT_EQ(num_parameters(deepseek_v2_lite()), 15706484224);
  EXPECT_EQ(num_parameters(deepseek_moe_16b()), 16375728128);
}

// DeepSeek-V3: 37 B, 11.5 B unique of the prediction layer (README_WEIGHTS.md); V2: 21 B; V2-Lite:
// 2.4 B without the input embedding; MoE-16B: 2.8 B.
TEST(Counts, OfActiveParametersAreThePublishedOnes) {
  EXPECT_NEAR(static_cast<double>(num_active_parameters(deepseek_v3())), 37.55e9, 0.005e9);
  EXPECT_NEAR(static_cast<double>(num_active_parameters(deepseek_v2())), 21.4e9, 0.05e9);
  EXPECT_NEAR(static_cast<double>(num_active_parameters(deepseek_v2_lite())), 2.66e9, 0.005e9);
  EXPECT_NEAR(static_cast<double>(num_active_parameters(deepseek_moe_16b())), 2.83e9, 0.005e9);
}

TEST(Counts, OfMultiTokenPredictionLeaveOutWhatItShares) {
  ModelOptions model = deepseek_v3();
  model.num_nextn_predict_layers = 1;
  EXPECT_EQ(num_mtp_parameters(model), 11507286272 + 2 * 7168 * 7168 + 3 * 7168);  // 11.61 B
  EXPECT_EQ(num_parameters(model), 671026419200 + num_mtp_parameters(model));
}

// Twice the multiply-adds of active matrices, three times for both passes: the 6 N rule of thumb
// holds without attention, the embedding (a look-up) and norms.
TEST(Counts, OfFlopsFollowTheSixNRule) {
  const ModelOptions model = deepseek_v3();
  const double matrices =
      static_cast<double>(num_active_parameters(model) - model.vocab_size * model.hidden_size);
  const double without_attention = training_flops_per_token(model, 0);
  EXPECT_NEAR(without_attention / (6 * matrices), 1, 1e-4);
  // 6 x 128 heads x (192 + 128) x 4096 / 2 in each of 61 layers.
  const double attention = training_flops_per_token(model, 4096) - without_attention;
  EXPECT_NEAR(attention, 6.0 * 128 * 320 * 2048 * 61, 1e6);
}

}  // namespace
}  // namespace tessera::test
