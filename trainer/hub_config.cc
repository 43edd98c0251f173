// SPDX-License-Identifier: Apache-2.0
// config.json in and out. Keys and defaults: transformers' LlamaConfig, DeepseekV2Config,
// DeepseekV3Config, DeepSeek's own configuration_deepseek.py, and the config.json files of the
// published models. A key that is absent has its family's default; where null means something else
// ("no query compression"), Config::absent() tells the two apart.
#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string_view>

#include <nlohmann/json.hpp>

#include "checkpoint/json.h"
#include "kernels/base/check.h"
#include "kernels/rope.h"
#include "trainer/hugging_face.h"

namespace tessera {
namespace {

using nlohmann::json;

struct Architecture {
  const char* ours;
  const char* model_type;
  const char* class_name;
};
const Architecture kArchitectures[] = {
    {"llama", "llama", "LlamaForCausalLM"},
    {"deepseek", "deepseek", "DeepseekForCausalLM"},
    {"deepseek_v2", "deepseek_v2", "DeepseekV2ForCausalLM"},
    {"deepseek_v3", "deepseek_v3", "DeepseekV3ForCausalLM"},
};

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
Defaults defaults_of(const std::string& architecture) {
  Defaults defaults;
  if (architecture == "deepseek_v2") defaults.n_shared_experts = 2;
  if (architecture == "deepseek_v3")
    defaults = {.max_position_embeddings = 4096,
                .q_lora_rank = 1536,
                .n_shared_experts = 1,
                .first_k_dense_replace = 3,
                .n_group = 8,
                .topk_group = 4,
                .routed_scaling_factor = 2.5};
  return defaults;
}

// One config.json, with the place for messages.
class Config {
 public:
  Config(json object, std::string where) : object_(std::move(object)), where_(std::move(where)) {
    if (!object_.is_object()) refuse("is no object");
  }

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  bool absent(const char* key) const { return !object_.contains(key); }
  bool empty() const { return object_.empty(); }
  int64_t integer(const char* key, int64_t otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_number_integer()) refuse(std::string(key) + " wants a whole number");
    return object_[key].get<int64_t>();
  }
  int64_t integer(const char* key) const {
    if (!has(key)) refuse(std::string(key) + " is missing");
    return integer(key, 0);
  }
  double number(const char* key, double otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_number()) refuse(std::string(key) + " wants a number");
    return object_[key].get<double>();
  }
  bool boolean(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_boolean()) refuse(std::string(key) + " wants true or false");
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_string()) refuse(std::string(key) + " wants text");
    return object_[key].get<std::string>();
  }
  Config inside(const char* key) const { return {object_[key], where_ + ": " + key}; }

  template <typename T>
  void only(const T& value, const T& honoured, const char* key) const {
    if (value != honoured) refuse(std::string(key) + ": Tessera has only " + json(honoured).dump());
  }
  // Refuses a key that is none of these, by its name.
  void knows(std::initializer_list<std::string_view> keys) const {
    for (const auto& [key, value] : object_.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end())
        refuse("the key " + key + " may change what is computed, and Tessera does not know it");
  }
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorKind::checkpoint, where_ + ": " + what);
  }

 private:
  json object_;
  std::string where_;
};

// cos and sin are multiplied by attention_factor; Tessera computes it from mscale alone.
void check_attention_factor(const Config& rope, const RopeScaling& yarn) {
  const double computed = yarn_attention_factor(yarn.factor, yarn.mscale) /
                          yarn_attention_factor(yarn.factor, yarn.mscale_all_dim);
  constexpr double kRounding = 1e-6;
  if (std::abs(rope.number("attention_factor", computed) - computed) > kRounding * computed)
    rope.refuse("attention_factor: Tessera has only " + json(computed).dump() +
                ", which factor, mscale and mscale_all_dim give");
}

void read_yarn(const Config& config, const Config& rope, ModelOptions& model) {
  if (!model.latent_attention())
    rope.refuse("type yarn: Tessera has it for deepseek_v2 and deepseek_v3 alone");
  RopeScaling& yarn = model.rope_scaling;
  yarn.type = "yarn";
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

void read_rope(const Config& config, ModelOptions& model) {
  config.only(config.number("partial_rotary_factor", 1), 1.0, "partial_rotary_factor");
  // transformers takes null for false here, and pairs of neighbours are rotated if it is absent.
  if (model.architecture == "deepseek_v3" && !config.absent("rope_interleave") &&
      !config.boolean("rope_interleave", false))
    config.refuse("rope_interleave: Tessera has only true, which rotates pairs of neighbours");
  model.rope_theta = config.number("rope_theta", 10000);
  const bool scaled = config.has("rope_scaling") && !config.inside("rope_scaling").empty();
  const char* key = scaled ? "rope_scaling" : "rope_parameters";
  if (!config.has(key)) return;
  const Config rope = config.inside(key);
  model.rope_theta = rope.number("rope_theta", model.rope_theta);
  rope.only(rope.number("partial_rotary_factor", 1), 1.0, "partial_rotary_factor");
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "default")
    return rope.knows({"type", "rope_type", "rope_theta", "partial_rotary_factor"});
  if (type != "yarn") config.refuse(std::string(key) + " of type " + type + ": Tessera has yarn");
  rope.knows({"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor",
              "attention_factor", "original_max_position_embeddings", "beta_fast", "beta_slow",
              "mscale", "mscale_all_dim", "truncate"});
  read_yarn(config, rope, model);
}

void read_groups(const Config& config, const Defaults& defaults, ModelOptions& model) {
  const bool v2 = model.architecture == "deepseek_v2";
  model.topk_method = config.text("topk_method", v2 ? "greedy" : "");
  model.n_group = config.absent("n_group") ? defaults.n_group : config.integer("n_group", 1);
  model.topk_group =
      config.absent("topk_group") ? defaults.topk_group : config.integer("topk_group", 1);
  // Under greedy, transformers and DeepSeek's code do not look at groups.
  if (model.selection() == "greedy") model.n_group = model.topk_group = 1;
  if (model.n_group > 1 && !config.absent("n_group") && !config.has("topk_group"))
    config.refuse("n_group is " + std::to_string(model.n_group) + ", but topk_group is missing");
}

void read_experts(const Config& config, const Defaults& defaults, ModelOptions& model) {
  const char* other = model.architecture == "deepseek_v3" ? "num_local_experts" : "num_experts";
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
  model.scoring_func = config.text("scoring_func", "");
  if (!config.absent("norm_topk_prob"))
    model.norm_topk_prob = config.boolean("norm_topk_prob", false);
  model.routed_scaling_factor =
      config.number("routed_scaling_factor", defaults.routed_scaling_factor);
  read_groups(config, defaults, model);
  config.only<int64_t>(config.integer("moe_layer_freq", 1), 1, "moe_layer_freq");
}

json rope_json(const RopeScaling& yarn) {
  if (yarn.type.empty()) return nullptr;
  return {{"type", yarn.type},
          {"factor", yarn.factor},
          {"original_max_position_embeddings", yarn.original_max_position_embeddings},
          {"beta_fast", yarn.beta_fast},
          {"beta_slow", yarn.beta_slow},
          {"mscale", yarn.mscale},
          {"mscale_all_dim", yarn.mscale_all_dim}};
}

void write_latent(const ModelOptions& model, nlohmann::ordered_json& config) {
  config["q_lora_rank"] = model.q_lora_rank ? json(model.q_lora_rank) : json();
  config["kv_lora_rank"] = model.kv_lora_rank;
  config["qk_nope_head_dim"] = model.qk_nope_head_dim;
  config["qk_rope_head_dim"] = model.qk_rope_head_dim;
  config["v_head_dim"] = model.v_head_dim;
}

void write_experts(const ModelOptions& model, nlohmann::ordered_json& config) {
  config["n_routed_experts"] = model.n_routed_experts;
  config["num_experts_per_tok"] = model.num_experts_per_tok;
  config["moe_intermediate_size"] = model.moe_intermediate_size;
  config["n_shared_experts"] = model.n_shared_experts ? json(model.n_shared_experts) : json();
  config["first_k_dense_replace"] = model.first_k_dense_replace;
  config["n_group"] = model.n_group;
  config["topk_group"] = model.topk_group;
  config["scoring_func"] = model.scoring();
  config["topk_method"] = model.selection();
  config["norm_topk_prob"] = model.normalizes_topk();
  config["routed_scaling_factor"] = model.routed_scaling_factor;
  config["moe_layer_freq"] = 1;
  config["ep_size"] = 1;
  config["num_nextn_predict_layers"] = model.num_nextn_predict_layers;
}

const char* torch_name(DType dtype) {
  return dtype == DType::bf16 ? "bfloat16" : dtype == DType::f16 ? "float16" : "float32";
}

}  // namespace

ModelOptions model_of_config(const std::string& text, const std::string& where) {
  const Config config(parse_json(text, where), where);
  ModelOptions model;
  const std::string type = config.text("model_type", "");
  model.architecture.clear();
  for (const Architecture& known : kArchitectures)
    if (type == known.model_type) model.architecture = known.ours;
  if (model.architecture.empty())
    config.refuse("model_type " + type + "; Tessera has llama, deepseek, deepseek_v2, deepseek_v3");
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
  if (model.architecture == "deepseek_v3")
    model.num_nextn_predict_layers = config.integer("num_nextn_predict_layers", 0);
  config.only<std::string>(config.text("hidden_act", "silu"), "silu", "hidden_act");
  config.only(config.boolean("attention_bias", false), false, "attention_bias");
  config.only(config.boolean("mlp_bias", false), false, "mlp_bias");
  return model;
}

std::string config_of_model(const ModelOptions& model, DType dtype) {
  nlohmann::ordered_json config;
  for (const Architecture& known : kArchitectures)
    if (model.architecture == known.ours) {
      config["architectures"] = {known.class_name};
      config["model_type"] = known.model_type;
    }
  config["vocab_size"] = model.vocab_size;
  config["hidden_size"] = model.hidden_size;
  config["intermediate_size"] = model.intermediate_size;
  config["num_hidden_layers"] = model.num_hidden_layers;
  config["num_attention_heads"] = model.num_attention_heads;
  config["num_key_value_heads"] = model.kv_heads();
  if (model.latent_attention())
    write_latent(model, config);
  else
    config["head_dim"] = model.head_size();
  if (model.has_experts()) write_experts(model, config);
  config["hidden_act"] = "silu";
  config["rms_norm_eps"] = model.rms_norm_eps;
  config["rope_theta"] = model.rope_theta;
  config["rope_scaling"] = rope_json(model.rope_scaling);
  config["max_position_embeddings"] = model.max_position_embeddings;
  config["initializer_range"] = model.initializer_range;
  config["tie_word_embeddings"] = model.tie_word_embeddings;
  config["attention_bias"] = false;
  config["mlp_bias"] = false;
  config["pretraining_tp"] = 1;
  config["use_cache"] = true;
  config["torch_dtype"] = torch_name(dtype);
  return config.dump(2) + "\n";
}

}  // namespace tessera
