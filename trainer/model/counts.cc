// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/counts.h"

namespace tessera {
namespace {

// Matrices of one attention layer.
int64_t attention_matrices(const ModelOptions& model) {
  const int64_t hidden = model.hidden_size, heads = model.num_attention_heads;
  if (!model.latent_attention()) return 2 * hidden * model.head_size() * (heads + model.kv_heads());
  const int64_t query = heads * (model.qk_nope_head_dim + model.qk_rope_head_dim);
  const int64_t up = heads * (model.qk_nope_head_dim + model.v_head_dim);
  const int64_t queries =
      model.q_lora_rank > 0 ? model.q_lora_rank * (hidden + query) : hidden * query;
  return queries + hidden * (model.kv_lora_rank + model.qk_rope_head_dim) +
         model.kv_lora_rank * up + heads * model.v_head_dim * hidden;
}

int64_t attention_norms(const ModelOptions& model) {
  return model.latent_attention() ? model.q_lora_rank + model.kv_lora_rank : 0;
}

// Matrices of a feed-forward network or a mixture with so many routed experts.
int64_t mlp_matrices(const ModelOptions& model, int64_t layer, int64_t routed) {
  if (!model.has_experts(layer)) return 3 * model.hidden_size * model.intermediate_size;
  const int64_t experts = routed + model.n_shared_experts;
  return model.hidden_size * (model.n_routed_experts + 3 * experts * model.moe_intermediate_size);
}

int64_t selection_biases(const ModelOptions& model, int64_t layer) {
  const bool has = model.has_experts(layer) && model.has_selection_biases();
  return has ? model.n_routed_experts : 0;
}

int64_t block(const ModelOptions& model, int64_t layer, int64_t routed) {
  return attention_matrices(model) + attention_norms(model) + mlp_matrices(model, layer, routed) +
         selection_biases(model, layer) + 2 * model.hidden_size;
}

int64_t main_model(const ModelOptions& model, int64_t routed) {
  const int64_t tables = model.tie_word_embeddings ? 1 : 2;
  int64_t sum = tables * model.vocab_size * model.hidden_size + model.hidden_size;
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer)
    sum += block(model, layer, routed);
  return sum;
}

}  // namespace

int64_t num_mtp_parameters(const ModelOptions& model) {
  const int64_t hidden = model.hidden_size;
  constexpr int64_t kNorms = 3;  // enorm, hnorm, shared_head.norm
  return model.num_nextn_predict_layers *
         (block(model, model.num_hidden_layers, model.n_routed_experts) + 2 * hidden * hidden +
          kNorms * hidden);
}

int64_t num_parameters(const ModelOptions& model) {
  return main_model(model, model.n_routed_experts) + num_mtp_parameters(model);
}

int64_t num_active_parameters(const ModelOptions& model) {
  return main_model(model, model.num_experts_per_tok);
}

BlockWork block_work(const ModelOptions& model, int64_t layer, int64_t sequence_length) {
  int64_t weights =
      attention_matrices(model) + mlp_matrices(model, layer, model.num_experts_per_tok);
  if (layer >= model.num_hidden_layers) weights += 2 * model.hidden_size * model.hidden_size;
  const int64_t of_head = model.latent_attention()
                              ? model.qk_nope_head_dim + model.qk_rope_head_dim + model.v_head_dim
                              : 2 * model.head_size();
  return {.weights = static_cast<double>(weights),
          .attention = static_cast<double>(model.num_attention_heads * of_head) *
                       static_cast<double>(sequence_length) / 2};
}

double training_flops_per_token(const ModelOptions& model, int64_t sequence_length) {
  const int64_t depth = model.num_nextn_predict_layers;
  double sum = static_cast<double>((1 + depth) * model.hidden_size * model.vocab_size);
  for (int64_t layer = 0; layer < model.num_hidden_layers + depth; ++layer) {
    const BlockWork work = block_work(model, layer, sequence_length);
    sum += work.weights + work.attention;
  }
  constexpr double kFlops = 2.0 * 3;  // multiply and add; forward and two products backward
  return kFlops * sum;
}

}  // namespace tessera
