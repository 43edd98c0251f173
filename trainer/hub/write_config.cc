// SPDX-License-Identifier: Apache-2.0
// Writes config.json with the keys that transformers writes.
#include <nlohmann/json.hpp>

#include "trainer/hub/config.h"

namespace tessera {
namespace {

using nlohmann::json;

const char* class_of(Architecture architecture) {
  switch (architecture) {
    case Architecture::llama: return "LlamaForCausalLM";
    case Architecture::deepseek: return "DeepseekForCausalLM";
    case Architecture::deepseek_v2: return "DeepseekV2ForCausalLM";
    case Architecture::deepseek_v3: return "DeepseekV3ForCausalLM";
  }
  return "";
}

json rope_json(const RopeScaling& yarn) {
  if (!yarn.type) return nullptr;
  return {{"type", name_of(*yarn.type)},
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
  config["scoring_func"] = name_of(model.scoring());
  config["topk_method"] = name_of(model.selection());
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

std::string config_of_model(const ModelOptions& model, DType dtype) {
  nlohmann::ordered_json config;
  config["architectures"] = {class_of(model.architecture)};
  config["model_type"] = name_of(model.architecture);
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
