// SPDX-License-Identifier: Apache-2.0
#include "trainer/size_rules.h"

#include <cstdint>
#include <string>

namespace tessera {
namespace {

constexpr int64_t kMostInt = INT32_MAX;           // token ids, rows and columns of a kernel
constexpr int64_t kMostRanks = int64_t{1} << 20;  // along one axis
constexpr int64_t kMostLayers = int64_t{1} << 16;
constexpr int64_t kMostTokens = int64_t{1} << 62;

struct Limit {
  const char* key;
  int64_t value;
  int64_t most;
};

}  // namespace

bool check_sizes(const Recipe& recipe, Problems& problems) {
  const ModelOptions& model = recipe.model;
  const ParallelOptions& parallel = recipe.parallel;
  const BatchOptions& batch = recipe.batch;
  const int64_t sequence = recipe.data.sequence_length;
  const size_t before = problems.found.size();
  const Limit limits[] = {
      {"model.vocab_size", model.vocab_size, kMostInt},
      {"model.hidden_size", model.hidden_size, kMostInt},
      {"model.intermediate_size", model.intermediate_size, kMostInt},
      {"model.num_hidden_layers", model.num_hidden_layers, kMostLayers},
      {"model.num_attention_heads", model.num_attention_heads, kMostInt},
      {"model.num_key_value_heads", model.num_key_value_heads, kMostInt},
      {"model.head_dim", model.head_dim, kMostInt},
      {"model.q_lora_rank", model.q_lora_rank, kMostInt},
      {"model.kv_lora_rank", model.kv_lora_rank, kMostInt},
      {"model.qk_nope_head_dim", model.qk_nope_head_dim, kMostInt},
      {"model.qk_rope_head_dim", model.qk_rope_head_dim, kMostInt},
      {"model.v_head_dim", model.v_head_dim, kMostInt},
      {"model.moe_intermediate_size", model.moe_intermediate_size, kMostInt},
      {"model.n_routed_experts", model.n_routed_experts, kMostInt},
      {"model.n_shared_experts", model.n_shared_experts, kMostInt},
      {"model.max_position_embeddings", model.max_position_embeddings, kMostInt},
      {"model.num_nextn_predict_layers", model.num_nextn_predict_layers, kMostLayers},
      {"data.sequence_length", sequence, kMostInt},
      {"batch.global", batch.global, kMostInt},
      {"batch.micro", batch.micro, kMostInt},
      {"parallel.data", parallel.data, kMostRanks},
      {"parallel.tensor", parallel.tensor, kMostRanks},
      {"parallel.pipeline", parallel.pipeline, kMostRanks},
      {"parallel.context", parallel.context, kMostRanks},
      {"parallel.expert", parallel.expert, kMostRanks},
      {"parallel.expert_tensor", parallel.expert_tensor, kMostRanks},
      {"parallel.chunks", parallel.chunks, kMostLayers}};
  for (const Limit& limit : limits)
    problems.require(
        limit.value <= limit.most, limit.key,
        "must be at most " + std::to_string(limit.most) + ", got " + std::to_string(limit.value));
  if (problems.found.size() > before || batch.micro <= 0 || batch.global <= 0 || sequence <= 0)
    return problems.found.size() == before;
  problems.require(batch.micro <= kMostInt / sequence, "batch.micro",
                   std::to_string(batch.micro) + " sequences of " + std::to_string(sequence) +
                       " tokens are more rows than a kernel counts, " + std::to_string(kMostInt));
  problems.require(recipe.run.steps <= kMostTokens / batch.global / sequence, "run.steps",
                   std::to_string(recipe.run.steps) + " steps of " + std::to_string(batch.global) +
                       " sequences are more tokens than are counted");
  return problems.found.size() == before;
}

}  // namespace tessera
