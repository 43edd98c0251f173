// SPDX-License-Identifier: Apache-2.0
// A model and a recipe small enough for double precision and for finite differences, and text that
// it can learn.
#pragma once

#include <string>
#include <vector>

#include "data/token_file.h"
#include "kernels/base/random.h"
#include "trainer/recipe.h"
#include "trainer/trainer.h"

namespace tessera::test {

inline ModelOptions tiny_model() {
  ModelOptions model;
  model.vocab_size = 29;
  model.hidden_size = 16;
  model.intermediate_size = 24;
  model.num_hidden_layers = 2;
  model.num_attention_heads = 4;
  model.num_key_value_heads = 2;
  model.initializer_range = 0.1;
  return model;
}

// The same size in DeepSeek-V3's architecture.
inline ModelOptions tiny_deepseek() {
  ModelOptions model = tiny_model();
  model.architecture = Architecture::deepseek_v3;
  model.num_hidden_layers = 4;
  model.num_key_value_heads = 0;
  model.q_lora_rank = 8;
  model.kv_lora_rank = 10;
  model.qk_nope_head_dim = 6;
  model.qk_rope_head_dim = 2;
  model.v_head_dim = 4;
  model.first_k_dense_replace = 1;
  model.moe_intermediate_size = 8;
  model.n_routed_experts = 8;
  model.num_experts_per_tok = 2;
  model.n_shared_experts = 1;
  model.num_nextn_predict_layers = 1;
  return model;
}

// Documents in which each token but a few follows from the one before.
inline void write_tiny_tokens(const std::string& prefix) {
  TokenFileWriter writer(prefix, 29);
  const Philox philox{11, 0};
  uint64_t draw = 0;
  for (int document = 0; document < 40; ++document) {
    auto token = static_cast<int32_t>(philox.bits(draw++) % 29);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 60; ++i) {
      tokens.push_back(token);
      const bool surprise = philox.bits(draw++) % 8 == 0;
      token = surprise ? static_cast<int32_t>(philox.bits(draw++) % 29) : (token * 7 + 3) % 29;
    }
    writer.add(tokens);
    writer.end_document();
  }
  writer.finish({});
}

inline Recipe tiny_recipe(const std::string& tokens, const std::string& compute = "f32") {
  Recipe recipe;
  recipe.name = "tiny";
  recipe.model = tiny_model();
  recipe.data.train = tokens;
  recipe.data.sequence_length = 12;
  recipe.batch = {.global = 8, .micro = 2};
  recipe.precision.compute = value_named<ComputeType>(compute).value();
  recipe.optimizer.lr = 1e-2;
  recipe.lr_schedule.warmup.steps = 2;
  recipe.run.steps = 40;
  recipe.run.device = "cpu";
  return recipe;
}

// The bits of all master weights.
inline std::string weight_bits(const Trainer& trainer) {
  std::string bits;
  const ParameterStore& store = trainer.parameters();
  for (const Piece& piece : store.pieces()) {
    const Tensor master = store.master(piece);
    bits.append(static_cast<const char*>(master.data()), static_cast<size_t>(master.bytes()));
  }
  return bits;
}

}  // namespace tessera::test
