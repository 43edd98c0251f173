// SPDX-License-Identifier: Apache-2.0
// Reads config.json. Keys and defaults are those of transformers' LlamaConfig, DeepseekV2Config and
// DeepseekV3Config, of DeepSeek's own configuration_deepseek.py, and of the config.json files of
// the published models.
#include "trainer/hub/config.h"

#include <cmath>

#include "kernels/rope.h"
#include "trainer/hub/config_json.h"

namespace tessera {
namespace {

// The defaults of a family's configuration class, for the keys that change what is computed.
struct Defaults {
  int64_t max_position_embeddings = 2048;
  int64_t q_lora_rank = 1536;
  int64_t n_shared_experts = 0;
  int64_t first_k_dense_replace = 0;
  int64_t n_group = 1;
  int64_t topk_group = 1;
  double routed_scaling_factor = 1;
};
Defaults defaults_of(Architecture architecture) {
  Defaults defaults;
  if (architecture == Architecture::deepseek_v2) defaults.n_shared_experts = 2;
  if (architecture == Architecture::deepseek_v3)
    defaults = {.max_position_embeddings = 4096,
                .q_lora_rank = 1536,
                .n_shared_experts = 1,
                .first_k_dense_replace = 3,
                .n_group = 8,
                .topk_group = 4,
                .routed_scaling_factor = 2.5};
  return defaults;
}

// cos and sin are multiplied by attention_factor; Tessera computes it from mscale alone.
void check_attention_factor(const ConfigJson& rope, const RopeScaling& yarn) {
  const double computed = yarn_attention_factor(yarn.factor, yarn.mscale) /
                          yarn_attention_factor(yarn.factor, yarn.mscale_all_dim);
  constexpr double kRounding = 1e-6;
  if (std::abs(rope.number("attention_factor", computed) - computed) > kRounding * computed)
    rope.refuse("attention_factor: Tessera has only " + ConfigJson::written(computed) +
                ", which factor, mscale and mscale_all_dim give");
}

void read_yarn(const ConfigJson& config, const ConfigJson& rope, ModelOptions& model) {
  if (!model.latent_attention())
    rope.refuse("type yarn: Tessera has it for deepseek_v2 and deepseek_v3 alone");
  RopeScaling& yarn = model.rope_scaling;
  yarn.type = RopeType::yarn;
  // A key outside rope_scaling goes first, as in transformers.
  yarn.original_max_position_embeddings = config.integer(
      "original_max_position_embeddings",
      rope.integer("original_max_position_embeddings", model.max_position_embeddings));
  if (yarn.original_max_position_embeddings < 1)
    rope.refuse("original_max_position_embeddings must be at least 1");
  if (rope.absent("factor")) rope.refuse("factor is missing");
  yarn.factor =
      rope.number("factor", static_cast<double>(model.max_position_embeddings) /
                                static_cast<double>(yarn.original_max_position_embeddings));
  yarn.beta_fast = rope.number("beta_fast", yarn.beta_fast);
  yarn.beta_slow = rope.number("beta_slow", yarn.beta_slow);
  yarn.mscale = rope.number("mscale", yarn.mscale);
  yarn.mscale_all_dim = rope.number("mscale_all_dim", yarn.mscale_all_dim);
  rope.only(rope.boolean("truncate", true), true, "truncate");
  check_attention_factor(rope, yarn);
}

void read_rope(const ConfigJson& config, ModelOptions& model) {
  config.only(config.number("partial_rotary_factor", 1), 1.0, "partial_rotary_factor");
  // transformers takes null for false here, and pairs of neighbours are rotated if it is absent.
  if (model.architecture == Architecture::deepseek_v3 && !config.absent("rope_interleave") &&
      !config.boolean("rope_interleave", false))
    config.refuse("rope_interleave: Tessera has only true, which rotates pairs of neighbours");
  model.rope_theta = config.number("rope_theta", 10000);
  const bool scaled = config.has("rope_scaling") && !config.inside("rope_scaling").empty();
  const char* key = scaled ? "rope_scaling" : "rope_parameters";
  if (!config.has(key)) return;
  const ConfigJson rope = config.inside(key);
  model.rope_theta = rope.number("rope_theta", model.rope_theta);
  rope.only(rope.number("partial_rotary_factor", 1), 1.0, "partial_rotary_factor");
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "default")
    return rope.knows({"type", "rope_type", "rope_theta", "partial_rotary_factor"});
  if (value_named<RopeType>(type) != RopeType::yarn)
    config.refuse(std::string(key) + " of type " + type + ": Tessera has yarn");
  rope.knows({"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor",
              "attention_factor", "original_max_position_embeddings", "beta_fast", "beta_slow",
              "mscale", "mscale_all_dim", "truncate"});
  read_yarn(config, rope, model);
}

void read_groups(const ConfigJson& config, const Defaults& defaults, ModelOptions& model) {
  model.topk_method = config.word<Selection>("topk_method");
  if (!model.topk_method && model.architecture == Architecture::deepseek_v2)
    model.topk_method = Selection::greedy;
  model.n_group = config.absent("n_group") ? defaults.n_group : config.integer("n_group", 1);
  model.topk_group =
      config.absent("topk_group") ? defaults.topk_group : config.integer("topk_group", 1);
  // Under greedy, transformers and DeepSeek's code do not look at groups.
  if (model.selection() == Selection::greedy) model.n_group = model.topk_group = 1;
  if (model.n_group > 1 && !config.absent("n_group") && !config.has("topk_group"))
    config.refuse("n_group is " + std::to_string(model.n_group) + ", but topk_group is missing");
}

void read_experts(const ConfigJson& config, const Defaults& defaults, ModelOptions& model) {
  const char* other =
      model.architecture == Architecture::deepseek_v3 ? "num_local_experts" : "num_experts";
  model.n_routed_experts = config.has("n_routed_experts") || !config.has(other)
                               ? config.integer("n_routed_experts")
                               : config.integer(other);
  model.num_experts_per_tok = config.integer("num_experts_per_tok");
  model.moe_intermediate_size = config.integer("moe_intermediate_size");
  model.n_shared_experts = config.absent("n_shared_experts")
                               ? defaults.n_shared_experts
                               : config.integer("n_shared_experts", 0);
  model.first_k_dense_replace =
      config.integer("first_k_dense_replace", defaults.first_k_dense_replace);
  model.scoring_func = config.word<Scoring>("scoring_func");
  if (!config.absent("norm_topk_prob"))
    model.norm_topk_prob = config.boolean("norm_topk_prob", false);
  model.routed_scaling_factor =
      config.number("routed_scaling_factor", defaults.routed_scaling_factor);
  read_groups(config, defaults, model);
  config.only<int64_t>(config.integer("moe_layer_freq", 1), 1, "moe_layer_freq");
}

}  // namespace

ModelOptions model_of_config(const std::string& text, const std::string& where) {
  const ConfigJson config(text, where);
  ModelOptions model;
  const std::string type = config.text("model_type", "");
  const std::optional<Architecture> family = value_named<Architecture>(type);
  if (!family)
    config.refuse("model_type " + type + "; Tessera has " + ConfigJson::list_of<Architecture>());
  model.architecture = *family;
  model.vocab_size = config.integer("vocab_size");
  model.hidden_size = config.integer("hidden_size");
  model.intermediate_size = config.integer("intermediate_size");
  model.num_hidden_layers = config.integer("num_hidden_layers");
  model.num_attention_heads = config.integer("num_attention_heads");
  model.rms_norm_eps = config.number("rms_norm_eps", 1e-6);
  model.initializer_range = config.number("initializer_range", 0.02);
  model.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  const Defaults defaults = defaults_of(model.architecture);
  model.max_position_embeddings =
      config.integer("max_position_embeddings", defaults.max_position_embeddings);
  read_rope(config, model);
  if (model.latent_attention()) {
    config.only(config.integer("num_key_value_heads", model.num_attention_heads),
                model.num_attention_heads, "num_key_value_heads");
    model.q_lora_rank =
        config.absent("q_lora_rank") ? defaults.q_lora_rank : config.integer("q_lora_rank", 0);
    model.kv_lora_rank = config.integer("kv_lora_rank");
    model.qk_nope_head_dim = config.integer("qk_nope_head_dim");
    model.qk_rope_head_dim = config.integer("qk_rope_head_dim");
    model.v_head_dim = config.integer("v_head_dim");
  } else {
    model.num_key_value_heads = config.integer("num_key_value_heads", model.num_attention_heads);
    model.head_dim = config.integer("head_dim", 0);
  }
  if (model.has_experts()) read_experts(config, defaults, model);
  if (model.architecture == Architecture::deepseek_v3)
    model.num_nextn_predict_layers = config.integer("num_nextn_predict_layers", 0);
  config.only<std::string>(config.text("hidden_act", "silu"), "silu", "hidden_act");
  config.only(config.boolean("attention_bias", false), false, "attention_bias");
  config.only(config.boolean("mlp_bias", false), false, "mlp_bias");
  return model;
}

}  // namespace tessera
