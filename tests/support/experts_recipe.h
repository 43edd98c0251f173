// SPDX-License-Identifier: Apache-2.0
// What tests of devices train: in one Workshop a program, beside recipe.yaml experts.yaml, of
// DeepSeek-V3's shape, which trains in seconds.
#pragma once

#include <algorithm>

#include "tests/support/workshop.h"

namespace tessera {

inline const char* const kExpertsRecipe =
    "recipe: 1\n"
    "name: experts\n"
    "model:\n"
    "  architecture: deepseek_v3\n"
    "  vocab_size: 260\n"
    "  hidden_size: 32\n"
    "  intermediate_size: 48\n"
    "  num_hidden_layers: 3\n"
    "  num_attention_heads: 4\n"
    "  q_lora_rank: 16\n"
    "  kv_lora_rank: 16\n"
    "  qk_nope_head_dim: 8\n"
    "  qk_rope_head_dim: 4\n"
    "  v_head_dim: 8\n"
    "  first_k_dense_replace: 1\n"
    "  moe_intermediate_size: 16\n"
    "  n_routed_experts: 8\n"
    "  num_experts_per_tok: 2\n"
    "  n_shared_experts: 1\n"
    "  num_nextn_predict_layers: 1\n"
    "data: {train: corpus/train, validation: corpus/validation, sequence_length: 32,\n"
    "       tokenizer: corpus/tokenizer.json}\n"
    "batch: {global: 8, micro: 2}\n"
    "router: {rebalance_every: 2}\n"
    "run: {steps: 4, log_every: 1, eval_batches: 2}\n"
    "checkpoint: {every: 3}\n";

inline const Workshop& workshop() {
  static const Workshop& shared = []() -> const Workshop& {
    static const Workshop made;
    made.write("experts.yaml", kExpertsRecipe);
    return made;
  }();
  return shared;
}

inline ProgramResult train_recipe(int ranks, const std::string& recipe, const std::string& run,
                                  const Words& more, const Environment& environment = {}) {
  Words words = Workshop::train_words(ranks, run, more);
  std::replace(words.begin(), words.end(), std::string("recipe.yaml"), recipe);
  return run_program(words, workshop().options(environment), 600);
}

}  // namespace tessera
