// SPDX-License-Identifier: Apache-2.0
// The options that layers are built from, as plain structs; a recipe (trainer/recipe.h) contains
// them. Model keys are those of Hugging Face's config.json.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "kernels/base/closed_set.h"
#include "trainer/model/length.h"

namespace tessera {

// A family of decoders has the name that its config.json calls model_type.
enum class Architecture { llama, deepseek, deepseek_v2, deepseek_v3 };
template <>
inline constexpr auto kWords<Architecture> =
    std::array{"llama", "deepseek", "deepseek_v2", "deepseek_v3"};

enum class RopeType { yarn };
template <>
inline constexpr auto kWords<RopeType> = std::array{"yarn"};

// A router makes scores of its logits by one of these functions (defined in kernels/router.h).
enum class Scoring;
template <>
inline constexpr auto kWords<Scoring> = std::array{"softmax", "sigmoid"};

// Experts are chosen by their scores: the best of all, the best of the best groups, or the best of
// the best groups by scores to which a bias of each expert was added.
enum class Selection { greedy, group_limited_greedy, noaux_tc };
template <>
inline constexpr auto kWords<Selection> = std::array{"greedy", "group_limited_greedy", "noaux_tc"};

enum class Balance { none, aux_free };
template <>
inline constexpr auto kWords<Balance> = std::array{"none", "aux_free"};

// The model keeps all activations for the backward pass, or computes some or nearly all of them
// again (docs/parallelism.md, recompute).
enum class Recomputation { none, selective, full };
template <>
inline constexpr auto kWords<Recomputation> = std::array{"none", "selective", "full"};

// YaRN (arXiv:2309.00071) as DeepSeek's config.json has it. Without a type, and with factor 0:
// plain rotary embedding.
struct RopeScaling {
  std::optional<RopeType> type{};
  double factor = 0;
  int64_t original_max_position_embeddings = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
};

struct ModelOptions {
  Architecture architecture = Architecture::llama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;  // 0: as many as num_attention_heads
  int64_t head_dim = 0;             // 0: hidden_size / num_attention_heads
  double rope_theta = 10000;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  // Standard deviation of the two projections that add to the residual stream is
  // initializer_range / sqrt(2 * num_hidden_layers) (GPT-2, Megatron-LM) when true.
  bool scale_residual_init = true;
  bool tie_word_embeddings = false;
  int64_t max_position_embeddings = 0;  // 0: data.sequence_length
  RopeScaling rope_scaling{};

  // Multi-head latent attention: deepseek_v2 and deepseek_v3.
  int64_t q_lora_rank = 0;  // 0: queries are not compressed
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;
  int64_t v_head_dim = 0;

  // Mixture of experts: deepseek, deepseek_v2 and deepseek_v3.
  int64_t first_k_dense_replace = 0;  // so many first layers have a dense feed-forward network
  int64_t moe_intermediate_size = 0;  // width of one expert
  int64_t n_routed_experts = 0;
  int64_t num_experts_per_tok = 0;
  int64_t n_shared_experts = 0;  // one network of n_shared_experts * moe_intermediate_size
  int64_t n_group = 1;           // groups of experts; topk_group of them are chosen from
  int64_t topk_group = 1;
  std::optional<Scoring> scoring_func{};   // none: the architecture's, see scoring()
  std::optional<Selection> topk_method{};  // none: see selection()
  std::optional<bool> norm_topk_prob{};    // none: the architecture's
  double routed_scaling_factor = 1;

  int64_t num_nextn_predict_layers = 0;  // depth of multi-token prediction

  bool latent_attention() const {
    return architecture == Architecture::deepseek_v2 || architecture == Architecture::deepseek_v3;
  }
  bool has_experts() const { return architecture != Architecture::llama; }
  // Whether block `layer` (from 0) has experts; those of multi-token prediction do.
  bool has_experts(int64_t layer) const { return has_experts() && layer >= first_k_dense_replace; }
  // The three choices that an architecture makes unless the recipe does (config.json of the
  // published models).
  Scoring scoring() const;
  Selection selection() const;
  bool normalizes_topk() const;
  // True when each expert has a bias that steers the choice.
  bool has_selection_biases() const { return selection() == Selection::noaux_tc; }

  int64_t kv_heads() const {
    return num_key_value_heads ? num_key_value_heads : num_attention_heads;
  }
  // How many neighbouring ranks of a tensor group of this size share each key/value head.
  int kv_replicas(int64_t tensor_ranks) const {
    return static_cast<int>(tensor_ranks > kv_heads() ? tensor_ranks / kv_heads() : 1);
  }
  int64_t head_size() const { return head_dim ? head_dim : hidden_size / num_attention_heads; }
};

// These options say how the load of experts is balanced. The losses' factors are those of the
// papers: DeepSeek-V3 (arXiv:2412.19437) 2.1.2, DeepSeek-V2 (arXiv:2405.04434) 2.2.3.
struct RouterOptions {
  Balance balance = Balance::none;    // aux_free: a bias per expert, for the choice alone
  double bias_update_speed = 0.001;   // aux_free: what a bias changes by after each update
  Length bias_update;                 // the biases stay as they are from there on; none: never
  double sequence_aux_loss = 0;       // V3's alpha; V2-Lite's and V1's alpha 1 with seq_aux
  double expert_aux_loss = 0;         // V2's alpha 1
  double device_aux_loss = 0;         // V2's alpha 2; a device is one of n_group groups
  double communication_aux_loss = 0;  // V2's alpha 3
  double expert_buffer = 2;  // rows an expert rank receives at once, times the mean; more: rounds
  int64_t rebalance_every = 0;  // steps between re-placements of experts; 0: they stay
};

// Multi-token prediction (arXiv:2412.19437, 2.2). Its depth is model.num_nextn_predict_layers.
struct MtpOptions {
  double loss_weight = 0.3;
  Length second_phase;  // from there on second_loss_weight holds; none: never
  double second_loss_weight = 0.1;
};

// These options and a place in the pipeline decide which layers a rank builds.
struct StageOptions {
  ModelOptions model;
  RouterOptions router{};
  Recomputation recomputation = Recomputation::none;
  bool decay_embeddings = true;  // whether weight decay applies to the embedding and the head
  int64_t positions = 1;         // rows of the rotary table: the longest sequence that will be seen
};

}  // namespace tessera
