// SPDX-License-Identifier: Apache-2.0
// Keys of the section model: those of Hugging Face's config.json.
#include "launch/recipe/rows.h"
#include "launch/recipe/sections.h"

namespace tessera {
namespace {

std::vector<RecipeField> rotary_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(word_or_null_row<RopeType>(
      "model.rope_scaling.type", [](R & r) -> auto& { return r.model.rope_scaling.type; },
      "yarn, or null: plain rotary embedding"));
  add(number_row(
      "model.rope_scaling.factor", [](R & r) -> auto& { return r.model.rope_scaling.factor; },
      "yarn: how many times longer sequences become"));
  add(integer_row(
      "model.rope_scaling.original_max_position_embeddings",
      [](R & r) -> auto& { return r.model.rope_scaling.original_max_position_embeddings; },
      "yarn: longest sequence before"));
  add(number_row(
      "model.rope_scaling.beta_fast", [](R & r) -> auto& { return r.model.rope_scaling.beta_fast; },
      "yarn: pairs that turn more often in it stay as they are"));
  add(number_row(
      "model.rope_scaling.beta_slow", [](R & r) -> auto& { return r.model.rope_scaling.beta_slow; },
      "yarn: pairs that turn less often are slowed down by the whole factor"));
  add(number_row(
      "model.rope_scaling.mscale", [](R & r) -> auto& { return r.model.rope_scaling.mscale; },
      "yarn: of the factor on cosines and sines"));
  add(number_row(
      "model.rope_scaling.mscale_all_dim",
      [](R & r) -> auto& { return r.model.rope_scaling.mscale_all_dim; },
      "yarn: of the factor on the scores before softmax"));
  return rows;
}

std::vector<RecipeField> latent_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(integer_or_row(
      "model.q_lora_rank", "null", [](R & r) -> auto& { return r.model.q_lora_rank; },
      "latent attention: width of compressed queries; null: not compressed"));
  add(integer_or_row(
      "model.kv_lora_rank", "null", [](R & r) -> auto& { return r.model.kv_lora_rank; },
      "latent attention: width of compressed keys and values"));
  add(integer_or_row(
      "model.qk_nope_head_dim", "null", [](R & r) -> auto& { return r.model.qk_nope_head_dim; },
      "latent attention: elements of a head of q and k that are not rotated"));
  add(integer_or_row(
      "model.qk_rope_head_dim", "null", [](R & r) -> auto& { return r.model.qk_rope_head_dim; },
      "latent attention: and those that are"));
  add(integer_or_row(
      "model.v_head_dim", "null", [](R & r) -> auto& { return r.model.v_head_dim; },
      "latent attention: elements of a head of v"));
  return rows;
}

std::vector<RecipeField> expert_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(integer_row(
      "model.first_k_dense_replace", [](R & r) -> auto& { return r.model.first_k_dense_replace; },
      "so many first blocks have a feed-forward network, the others experts"));
  add(integer_or_row(
      "model.moe_intermediate_size", "null",
      [](R & r) -> auto& { return r.model.moe_intermediate_size; }, "width of an expert"));
  add(integer_or_row(
      "model.n_routed_experts", "null", [](R & r) -> auto& { return r.model.n_routed_experts; },
      "experts that the router chooses from"));
  add(integer_or_row(
      "model.num_experts_per_tok", "null",
      [](R & r) -> auto& { return r.model.num_experts_per_tok; }, "experts that a token goes to"));
  add(integer_or_row(
      "model.n_shared_experts", "null", [](R & r) -> auto& { return r.model.n_shared_experts; },
      "experts that every token goes to"));
  add(integer_row(
      "model.n_group", [](R & r) -> auto& { return r.model.n_group; }, "groups of routed experts"));
  add(integer_row(
      "model.topk_group", [](R & r) -> auto& { return r.model.topk_group; },
      "groups whose experts a token may go to"));
  add(word_or_null_row<Scoring>(
      "model.scoring_func", [](R & r) -> auto& { return r.model.scoring_func; },
      "softmax or sigmoid of the router; null: sigmoid in deepseek_v3"));
  add(word_or_null_row<Selection>(
      "model.topk_method", [](R & r) -> auto& { return r.model.topk_method; },
      "greedy, group_limited_greedy or noaux_tc; null: noaux_tc in deepseek_v3, else by n_group"));
  add(boolean_or_null_row(
      "model.norm_topk_prob", [](R & r) -> auto& { return r.model.norm_topk_prob; },
      "weights of a token's experts add up to 1; null: true in deepseek_v3"));
  add(number_row(
      "model.routed_scaling_factor", [](R & r) -> auto& { return r.model.routed_scaling_factor; },
      "multiplies the weights of routed experts"));
  add(integer_row(
      "model.num_nextn_predict_layers",
      [](R & r) -> auto& { return r.model.num_nextn_predict_layers; },
      "depth of multi-token prediction: further tokens predicted at each place"));
  return rows;
}

}  // namespace

std::vector<RecipeField> model_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(word_row<Architecture>(
      "model.architecture", [](R & r) -> auto& { return r.model.architecture; }, "the decoder"));
  add(integer_row(
      "model.vocab_size", [](R & r) -> auto& { return r.model.vocab_size; },
      "tokens; at least the tokenizer's"));
  add(integer_row(
      "model.hidden_size", [](R & r) -> auto& { return r.model.hidden_size; },
      "width of the residual stream"));
  add(integer_row(
      "model.intermediate_size", [](R & r) -> auto& { return r.model.intermediate_size; },
      "width of the feed-forward network"));
  add(integer_row(
      "model.num_hidden_layers", [](R & r) -> auto& { return r.model.num_hidden_layers; },
      "transformer blocks"));
  add(integer_row(
      "model.num_attention_heads", [](R & r) -> auto& { return r.model.num_attention_heads; },
      "query heads"));
  add(integer_or_row(
      "model.num_key_value_heads", "null",
      [](R & r) -> auto& { return r.model.num_key_value_heads; },
      "key/value heads (grouped queries); null: as many as query heads"));
  add(integer_or_row(
      "model.head_dim", "null", [](R & r) -> auto& { return r.model.head_dim; },
      "size of a head; null: hidden_size / num_attention_heads"));
  add(number_row(
      "model.rope_theta", [](R & r) -> auto& { return r.model.rope_theta; },
      "base of the rotary frequencies"));
  add(number_row(
      "model.rms_norm_eps", [](R & r) -> auto& { return r.model.rms_norm_eps; },
      "added to the mean square"));
  add(number_row(
      "model.initializer_range", [](R & r) -> auto& { return r.model.initializer_range; },
      "standard deviation of initial weights"));
  add(boolean_row(
      "model.scale_residual_init", [](R & r) -> auto& { return r.model.scale_residual_init; },
      "divide it by sqrt(2 layers) for projections into the residual stream"));
  add(boolean_row(
      "model.tie_word_embeddings", [](R & r) -> auto& { return r.model.tie_word_embeddings; },
      "the head uses the embedding's weights"));
  add(integer_or_row(
      "model.max_position_embeddings", "null",
      [](R & r) -> auto& { return r.model.max_position_embeddings; },
      "longest sequence at inference; null: data.sequence_length"));
  for (RecipeField& row : rotary_fields()) add(std::move(row));
  for (RecipeField& row : latent_fields()) add(std::move(row));
  for (RecipeField& row : expert_fields()) add(std::move(row));
  return rows;
}

}  // namespace tessera
