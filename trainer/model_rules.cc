// SPDX-License-Identifier: Apache-2.0
#include "trainer/model_rules.h"

#include "trainer/model/router_layer.h"

namespace tessera {
namespace {

std::string text(int64_t value) {
  return std::to_string(value);
}

// Grouped-query attention: llama and deepseek.
void check_grouped_attention(const ModelOptions& model, Problems& problems) {
  problems.require(model.num_key_value_heads >= 0, "model.num_key_value_heads",
                   "must not be negative");
  if (model.num_attention_heads <= 0 || model.num_key_value_heads < 0) return;
  problems.require(model.num_attention_heads % model.kv_heads() == 0, "model.num_key_value_heads",
                   text(model.kv_heads()) + " does not divide num_attention_heads " +
                       text(model.num_attention_heads));
  problems.require(model.head_dim != 0 || model.hidden_size % model.num_attention_heads == 0,
                   "model.hidden_size",
                   text(model.hidden_size) + " is not a multiple of num_attention_heads " +
                       text(model.num_attention_heads) + "; set model.head_dim");
  problems.require(model.head_size() % 2 == 0, "model.head_dim",
                   "rotary embedding needs an even head size, got " + text(model.head_size()));
  problems.require(model.head_dim >= 0, "model.head_dim", "must not be negative");
  const auto latent_only = [&](int64_t value, const std::string& key) {
    problems.require(value == 0, key,
                     "belongs to latent attention (deepseek_v2, deepseek_v3), not to " +
                         std::string(name_of(model.architecture)));
  };
  latent_only(model.q_lora_rank, "model.q_lora_rank");
  latent_only(model.kv_lora_rank, "model.kv_lora_rank");
  latent_only(model.qk_nope_head_dim, "model.qk_nope_head_dim");
  latent_only(model.qk_rope_head_dim, "model.qk_rope_head_dim");
  latent_only(model.v_head_dim, "model.v_head_dim");
  problems.require(!model.rope_scaling.type, "model.rope_scaling.type",
                   "yarn is for latent attention (deepseek_v2, deepseek_v3), not for " +
                       std::string(name_of(model.architecture)),
                   ErrorKind::capacity);
}

void check_latent_attention(const ModelOptions& model, Problems& problems) {
  problems.require(model.q_lora_rank >= 0, "model.q_lora_rank", "must not be negative");
  problems.positive(model.kv_lora_rank, "model.kv_lora_rank");
  problems.positive(model.qk_nope_head_dim, "model.qk_nope_head_dim");
  problems.positive(model.qk_rope_head_dim, "model.qk_rope_head_dim");
  problems.positive(model.v_head_dim, "model.v_head_dim");
  problems.require(
      model.qk_rope_head_dim % 2 == 0, "model.qk_rope_head_dim",
      "rotary embedding needs an even number of elements, got " + text(model.qk_rope_head_dim));
  problems.require(model.kv_heads() == model.num_attention_heads, "model.num_key_value_heads",
                   "latent attention has as many key/value heads as query heads, " +
                       text(model.num_attention_heads) + ", got " +
                       text(model.num_key_value_heads));
  problems.require(model.head_dim == 0, "model.head_dim",
                   "latent attention has qk_nope_head_dim, qk_rope_head_dim and v_head_dim");
}

void check_rope_scaling(const RopeScaling& scaling, Problems& problems) {
  const std::string section = "model.rope_scaling.";
  if (!scaling.type) {
    problems.require(scaling.factor == 0, section + "factor",
                     "has no effect without model.rope_scaling.type: yarn");
    return;
  }
  problems.require(scaling.factor >= 1, section + "factor", "must be at least 1");
  problems.positive(scaling.original_max_position_embeddings,
                    section + "original_max_position_embeddings");
  problems.require(scaling.beta_slow > 0, section + "beta_slow", "must be above 0");
  problems.require(scaling.beta_fast > scaling.beta_slow, section + "beta_fast",
                   "must be above beta_slow");
  problems.require(scaling.mscale >= 0, section + "mscale", "must not be negative");
  problems.require(scaling.mscale_all_dim >= 0, section + "mscale_all_dim", "must not be negative");
}

void check_no_experts(const Recipe& recipe, Problems& problems) {
  const ModelOptions& model = recipe.model;
  const ModelOptions unset;
  const auto unused = [&](bool good, const std::string& key) {
    problems.require(good, key, "belongs to a mixture of experts, which llama has not");
  };
  unused(model.first_k_dense_replace == 0, "model.first_k_dense_replace");
  unused(model.moe_intermediate_size == 0, "model.moe_intermediate_size");
  unused(model.n_routed_experts == 0, "model.n_routed_experts");
  unused(model.num_experts_per_tok == 0, "model.num_experts_per_tok");
  unused(model.n_shared_experts == 0, "model.n_shared_experts");
  unused(model.n_group == unset.n_group, "model.n_group");
  unused(model.topk_group == unset.topk_group, "model.topk_group");
  unused(!model.scoring_func.has_value(), "model.scoring_func");
  unused(!model.topk_method.has_value(), "model.topk_method");
  unused(!model.norm_topk_prob.has_value(), "model.norm_topk_prob");
  unused(model.routed_scaling_factor == unset.routed_scaling_factor, "model.routed_scaling_factor");
  unused(recipe.router.balance == Balance::none, "router.balance");
  unused(recipe.router.sequence_aux_loss == 0, "router.sequence_aux_loss");
  unused(recipe.router.expert_aux_loss == 0, "router.expert_aux_loss");
  unused(recipe.router.device_aux_loss == 0, "router.device_aux_loss");
  unused(recipe.router.communication_aux_loss == 0, "router.communication_aux_loss");
  unused(recipe.router.rebalance_every == 0, "router.rebalance_every");
}

void check_groups(const ModelOptions& model, Problems& problems) {
  problems.positive(model.n_group, "model.n_group");
  problems.positive(model.topk_group, "model.topk_group");
  if (model.n_group <= 0 || model.topk_group <= 0) return;
  problems.require(model.n_routed_experts % model.n_group == 0, "model.n_group",
                   text(model.n_group) + " groups do not divide n_routed_experts " +
                       text(model.n_routed_experts));
  problems.require(model.n_group == 1 || !model.has_selection_biases() ||
                       model.n_routed_experts >= kBestOfGroup * model.n_group,
                   "model.n_group",
                   "noaux_tc scores a group by its best two experts, but n_routed_experts " +
                       text(model.n_routed_experts) + " gives " + text(model.n_group) +
                       " groups fewer than two each");
  problems.require(model.topk_group <= model.n_group, "model.topk_group",
                   text(model.topk_group) + " is more than n_group " + text(model.n_group));
  problems.require(
      model.num_experts_per_tok * model.n_group <= model.topk_group * model.n_routed_experts,
      "model.num_experts_per_tok",
      text(model.num_experts_per_tok) + " is more than the experts of topk_group " +
          text(model.topk_group) + " groups");
  problems.require(model.n_group == 1 || model.selection() != Selection::greedy, "model.n_group",
                   "topk_method greedy knows no groups; group_limited_greedy and noaux_tc do");
}

void check_experts(const Recipe& recipe, Problems& problems) {
  const ModelOptions& model = recipe.model;
  problems.require(
      model.first_k_dense_replace >= 0 && model.first_k_dense_replace <= model.num_hidden_layers,
      "model.first_k_dense_replace", "must be from 0 to num_hidden_layers");
  problems.positive(model.moe_intermediate_size, "model.moe_intermediate_size");
  problems.positive(model.n_routed_experts, "model.n_routed_experts");
  problems.positive(model.num_experts_per_tok, "model.num_experts_per_tok");
  problems.require(model.n_shared_experts >= 0, "model.n_shared_experts", "must not be negative");
  problems.require(model.num_experts_per_tok <= model.n_routed_experts, "model.num_experts_per_tok",
                   text(model.num_experts_per_tok) + " is more than n_routed_experts " +
                       text(model.n_routed_experts));
  if (model.n_routed_experts > 0) check_groups(model, problems);
  problems.require(model.routed_scaling_factor > 0, "model.routed_scaling_factor",
                   "must be above 0");
  const RouterOptions& router = recipe.router;
  problems.require(router.balance != Balance::aux_free || model.has_selection_biases(),
                   "router.balance",
                   std::string("aux_free moves the biases of topk_method noaux_tc, this is ") +
                       name_of(model.selection()));
  problems.require(router.bias_update_speed >= 0, "router.bias_update_speed",
                   "must not be negative");
  problems.require(router.sequence_aux_loss >= 0, "router.sequence_aux_loss",
                   "must not be negative");
  problems.require(router.expert_aux_loss >= 0, "router.expert_aux_loss", "must not be negative");
  problems.require(router.device_aux_loss >= 0, "router.device_aux_loss", "must not be negative");
  problems.require(router.communication_aux_loss >= 0, "router.communication_aux_loss",
                   "must not be negative");
  for (const auto& [factor, key] :
       {std::pair{router.device_aux_loss, "router.device_aux_loss"},
        std::pair{router.communication_aux_loss, "router.communication_aux_loss"}})
    problems.require(factor <= 0 || model.n_group > 1, key,
                     "balances groups of experts: set model.n_group above 1");
  problems.require(router.expert_buffer >= 1, "router.expert_buffer", "must be at least 1");
  problems.require(router.rebalance_every >= 0, "router.rebalance_every", "must not be negative");
}

void check_mtp(const Recipe& recipe, Problems& problems) {
  const int64_t depth = recipe.model.num_nextn_predict_layers;
  const MtpOptions& mtp = recipe.mtp;
  problems.require(depth >= 0, "model.num_nextn_predict_layers", "must not be negative");
  problems.require(depth == 0 || recipe.data.sequence_length > depth,
                   "model.num_nextn_predict_layers",
                   text(depth) + " further tokens need a data.sequence_length above it");
  problems.require(mtp.loss_weight >= 0, "mtp.loss_weight", "must not be negative");
  problems.require(mtp.second_loss_weight >= 0, "mtp.second_loss_weight", "must not be negative");
}

}  // namespace

void check_model(const Recipe& recipe, Problems& problems) {
  const ModelOptions& model = recipe.model;
  const size_t before = problems.found.size();
  problems.require(model.initializer_range > 0, "model.initializer_range", "must be above 0");
  problems.require(model.rms_norm_eps > 0, "model.rms_norm_eps", "must be above 0");
  problems.require(model.rope_theta > 0, "model.rope_theta", "must be above 0");
  problems.positive(model.vocab_size, "model.vocab_size");
  problems.positive(model.hidden_size, "model.hidden_size");
  problems.positive(model.intermediate_size, "model.intermediate_size");
  problems.positive(model.num_hidden_layers, "model.num_hidden_layers");
  problems.positive(model.num_attention_heads, "model.num_attention_heads");
  if (problems.found.size() > before) return;
  if (model.latent_attention())
    check_latent_attention(model, problems);
  else
    check_grouped_attention(model, problems);
  check_rope_scaling(model.rope_scaling, problems);
  if (model.has_experts())
    check_experts(recipe, problems);
  else
    check_no_experts(recipe, problems);
  check_mtp(recipe, problems);
}

}  // namespace tessera
