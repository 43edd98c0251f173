// SPDX-License-Identifier: Apache-2.0
// Groups of experts are scored as DeepSeek and transformers score them, by their best two, whatever
// the number of experts a token (tests/golden/make_expert_groups.py); checkpoints that were trained
// under another rule are named.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/numeric.h"
#include "trainer/group_rule.h"
#include "trainer/model/router_layer.h"

namespace tessera::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json vectors() {
  std::ifstream in(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/expert_groups.json");
  return json::parse(in);
}

ModelOptions model_of(const json& sizes, int64_t chosen) {
  ModelOptions model;
  model.architecture = Architecture::deepseek_v3;
  model.n_routed_experts = sizes["experts"];
  model.n_group = sizes["n_group"];
  model.topk_group = sizes["topk_group"];
  model.num_experts_per_tok = chosen;
  model.routed_scaling_factor = sizes["factor"];
  return model;
}

// This is what the rules of a model choose for one row.
struct Choice {
  std::vector<int32_t> index;
  std::vector<double> weights;
};
Choice choose(const ModelOptions& model, const json& row, Device device) {
  const DType type = device.kind == Device::Kind::reference ? DType::f64 : DType::f32;
  const RouterRules rules = router_rules(model);
  const auto logit_values = row["logits"].get<std::vector<double>>();
  const auto bias_values = row["bias"].get<std::vector<float>>();
  const int64_t experts = model.n_routed_experts, k = model.num_experts_per_tok;
  Stream stream(device);
  const Tensor logits(device, type, {1, experts}), scores(device, type, {1, experts});
  const Tensor bias(device, DType::f32, {1, experts}), index(device, DType::i32, {1, k});
  const Tensor weights(device, type, {1, k});
  for (size_t e = 0; e < logit_values.size(); ++e) {
    bias.as<float>()[e] = bias_values[e];
    if (type == DType::f64)
      logits.as<double>()[e] = logit_values[e];
    else
      logits.as<float>()[e] = static_cast<float>(logit_values[e]);
  }
  router_scores(stream, rules.scoring, logits, scores);
  router_choose(stream, scores, bias, rules.groups, index);
  router_weights(stream, scores, index, rules.weights, weights);
  return {.index = {index.as<int32_t>(), index.as<int32_t>() + k}, .weights = values_of(weights)};
}

TEST(ExpertGroups, AreScoredByTheirBestTwoForEveryNumberOfExpertsAToken) {
  for (const json& sizes : vectors())
    for (const json& row : sizes["rows"])
      for (size_t i = 0; i < row["chosen"].size(); ++i)
        for (const auto kind : {Device::Kind::cpu, Device::Kind::reference}) {
          const auto k = static_cast<int64_t>(i) + 1;
          const Choice choice = choose(model_of(sizes, k), row, Device{kind, 0});
          EXPECT_EQ(choice.index, row["chosen"][i].get<std::vector<int32_t>>()) << sizes["experts"];
          for (size_t s = 0; s <= i; ++s)
            EXPECT_NEAR(choice.weights[s], row["weights"][i][s].get<double>(), 1e-5);
        }
}

TEST(ExpertGroups, OfASingleGroupLeaveEveryExpertToChooseFrom) {
  ModelOptions model;
  model.architecture = Architecture::deepseek_v3;
  model.n_routed_experts = 1;
  model.num_experts_per_tok = 1;
  EXPECT_EQ(router_rules(model).groups.groups, 1);
  EXPECT_EQ(router_rules(model).groups.best_of_group, 1);
}

TEST(ExpertGroups, AreWarnedOfWhereACheckpointWasTrainedUnderTheEarlierRule) {
  const json sizes = vectors()[0];
  Manifest old{.version = 1,
               .run_id = "0123456789abcdef",
               .step = 40,
               .layout = "",
               .recipe = "",
               .scalars = {{"step", "40"}},
               .writers = {}};
  const std::string warning = group_rule_warning(model_of(sizes, 8), old);
  EXPECT_THAT(warning, HasSubstr("step 40"));
  EXPECT_THAT(warning, HasSubstr("best 4"));
  EXPECT_THAT(group_rule_warning(model_of(sizes, 1), old), HasSubstr("best 1"));
  EXPECT_EQ(group_rule_warning(model_of(sizes, 4), old), "");  // 4 of 2 groups: two either way
  EXPECT_EQ(group_rule_warning(model_of(sizes, 5), old), "");
  ModelOptions all_kept = model_of(sizes, 8);
  all_kept.topk_group = all_kept.n_group;
  EXPECT_EQ(group_rule_warning(all_kept, old), "");
  ModelOptions maximum = model_of(sizes, 8);
  maximum.topk_method = Selection::group_limited_greedy;
  EXPECT_EQ(group_rule_warning(maximum, old), "");
  EXPECT_EQ(group_rule_warning(ModelOptions{}, old), "");  // llama

  record_group_rule(model_of(sizes, 8), old.scalars);
  EXPECT_EQ(group_rule_warning(model_of(sizes, 8), old), "");
  const Manifest imported{.version = 1,
                          .run_id = "import",
                          .step = 0,
                          .layout = "",
                          .recipe = "",
                          .scalars = {},
                          .writers = {}};
  EXPECT_EQ(group_rule_warning(model_of(sizes, 8), imported), "");
}

}  // namespace
}  // namespace tessera::test
