// SPDX-License-Identifier: Apache-2.0
// Values of config.json that change what is computed: each is honoured with its family's default,
// or refused by its name. Defaults: transformers' configuration classes.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/base/check.h"
#include "trainer/hub/config.h"

namespace tessera::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json config_of(const char* family) {
  return {{"model_type", family},
          {"vocab_size", 61},
          {"hidden_size", 40},
          {"intermediate_size", 56},
          {"moe_intermediate_size", 16},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 4},
          {"n_routed_experts", 32},
          {"num_experts_per_tok", 4},
          {"kv_lora_rank", 12},
          {"qk_nope_head_dim", 8},
          {"qk_rope_head_dim", 8},
          {"v_head_dim", 10},
          {"max_position_embeddings", 64}};
}

ModelOptions read(const json& config) {
  return model_of_config(config.dump(), "config.json");
}

std::string complaint(const json& config) {
  try {
    read(config);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::checkpoint) << error.what();
    return error.what();
  }
  return "";
}

json with(json config, const char* key, const json& value) {
  config[key] = value;
  return config;
}

TEST(HubConfig, TakesWhatIsAbsentFromTheFamilysClass) {
  const ModelOptions v3 = read(config_of("deepseek_v3"));
  EXPECT_EQ(v3.routed_scaling_factor, 2.5);
  EXPECT_EQ(v3.n_group, 8);
  EXPECT_EQ(v3.topk_group, 4);
  EXPECT_EQ(v3.n_shared_experts, 1);
  EXPECT_EQ(v3.first_k_dense_replace, 3);
  EXPECT_EQ(v3.q_lora_rank, 1536);
  EXPECT_TRUE(v3.normalizes_topk());
  const ModelOptions v2 = read(config_of("deepseek_v2"));
  EXPECT_EQ(v2.routed_scaling_factor, 1);
  EXPECT_EQ(v2.n_group, 1);
  EXPECT_EQ(v2.n_shared_experts, 2);
  EXPECT_EQ(v2.first_k_dense_replace, 0);
  EXPECT_EQ(v2.selection(), Selection::greedy);
  EXPECT_FALSE(v2.normalizes_topk());
  json shorter = config_of("llama");
  shorter.erase("max_position_embeddings");
  EXPECT_EQ(read(shorter).max_position_embeddings, 2048);
}

TEST(HubConfig, TellsNullFromAbsent) {
  json config = config_of("deepseek_v3");
  config.update({{"q_lora_rank", nullptr}, {"n_shared_experts", nullptr}});
  config["norm_topk_prob"] = nullptr;
  const ModelOptions model = read(config);
  EXPECT_EQ(model.q_lora_rank, 0);
  EXPECT_EQ(model.n_shared_experts, 0);
  EXPECT_FALSE(model.normalizes_topk());
}

TEST(HubConfig, LooksAtGroupsOnlyWhereTheMethodDoes) {
  json config = config_of("deepseek_v2");
  config.update({{"n_group", 8}, {"topk_group", 3}});
  EXPECT_EQ(read(config).n_group, 1);
  config["topk_method"] = "group_limited_greedy";
  EXPECT_EQ(read(config).n_group, 8);
  config.erase("topk_group");
  EXPECT_THAT(complaint(config), HasSubstr("topk_group is missing"));
}

TEST(HubConfig, RefusesWhatItCannotHonour) {
  const json v3 = config_of("deepseek_v3");
  EXPECT_EQ(complaint(with(v3, "rope_interleave", true)), "");
  EXPECT_THAT(complaint(with(v3, "rope_interleave", false)), HasSubstr("rope_interleave"));
  EXPECT_THAT(complaint(with(v3, "rope_interleave", nullptr)), HasSubstr("rope_interleave"));
  EXPECT_THAT(complaint(with(v3, "num_key_value_heads", 2)), HasSubstr("num_key_value_heads"));
  EXPECT_THAT(complaint(with(v3, "partial_rotary_factor", 0.5)),
              HasSubstr("partial_rotary_factor"));
  EXPECT_THAT(complaint(with(v3, "rope_parameters", {{"rope_type", "default"}, {"factor", 2}})),
              HasSubstr("config.json: rope_parameters: the key factor"));
  EXPECT_THAT(
      complaint(with(config_of("llama"), "rope_scaling", {{"type", "yarn"}, {"factor", 4}})),
      HasSubstr("yarn"));
}

TEST(HubConfig, ReadsYarnAsTransformersDoes) {
  const auto yarn = [](const char* key, const json& value) {
    json rope = {{"rope_type", "yarn"},
                 {"factor", 4},
                 {"original_max_position_embeddings", 16},
                 {"mscale", 1},
                 {"mscale_all_dim", 1}};
    if (*key) rope[key] = value;
    return with(config_of("deepseek_v3"), "rope_parameters", rope);
  };
  EXPECT_EQ(read(yarn("", {})).rope_scaling.original_max_position_embeddings, 16);
  EXPECT_EQ(read(yarn("factor", nullptr)).rope_scaling.factor, 4);  // 64 / 16
  EXPECT_EQ(read(with(yarn("", {}), "original_max_position_embeddings", 32))
                .rope_scaling.original_max_position_embeddings,
            32);
  json longest = yarn("", {});
  longest["rope_parameters"].erase("original_max_position_embeddings");
  EXPECT_EQ(read(longest).rope_scaling.original_max_position_embeddings, 64);
  json unscaled = yarn("", {});
  unscaled["rope_parameters"].erase("factor");
  EXPECT_THAT(complaint(unscaled), HasSubstr("factor is missing"));

  EXPECT_EQ(complaint(yarn("attention_factor", 1)), "");  // what mscale gives, too
  EXPECT_EQ(complaint(yarn("attention_factor", nullptr)), "");
  EXPECT_THAT(complaint(yarn("attention_factor", 1.5)), HasSubstr("attention_factor"));
  EXPECT_THAT(complaint(yarn("attention_factor", 0.8)), HasSubstr("attention_factor"));
  EXPECT_EQ(complaint(yarn("truncate", true)), "");
  EXPECT_THAT(complaint(yarn("truncate", false)), HasSubstr("truncate"));
  EXPECT_THAT(complaint(yarn("low_freq_factor", 1)), HasSubstr("low_freq_factor"));
}

TEST(HubConfig, TakesAnEmptyRopeScalingForNone) {
  json config = with(config_of("deepseek_v3"), "rope_scaling", json::object());
  config["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  EXPECT_EQ(read(config).rope_theta, 5e5);
}

TEST(HubConfig, ComesBackFromItsOwnFile) {
  const ModelOptions model = read(config_of("deepseek_v3"));
  const std::string text = config_of_model(model, DType::f32);
  EXPECT_EQ(config_of_model(model_of_config(text, "config.json"), DType::f32), text);
}

}  // namespace
}  // namespace tessera::test
