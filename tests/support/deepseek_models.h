// SPDX-License-Identifier: Apache-2.0
// The published models of DeepSeek as ModelOptions, from their config.json, without multi-token
// prediction.
#pragma once

#include "trainer/model/options.h"

namespace tessera::test {

inline ModelOptions deepseek_moe_16b() {
  ModelOptions model;
  model.architecture = Architecture::deepseek;
  model.vocab_size = 102400;
  model.hidden_size = 2048;
  model.intermediate_size = 10944;
  model.moe_intermediate_size = 1408;
  model.num_hidden_layers = 28;
  model.first_k_dense_replace = 1;
  model.num_attention_heads = 16;
  model.n_routed_experts = 64;
  model.n_shared_experts = 2;
  model.num_experts_per_tok = 6;
  return model;
}

inline ModelOptions deepseek_v2_lite() {
  ModelOptions model = deepseek_moe_16b();
  model.architecture = Architecture::deepseek_v2;
  model.num_hidden_layers = 27;
  model.kv_lora_rank = 512;
  model.qk_nope_head_dim = 128;
  model.qk_rope_head_dim = 64;
  model.v_head_dim = 128;
  model.rope_scaling = {.type = RopeType::yarn,
                        .factor = 40,
                        .original_max_position_embeddings = 4096,
                        .beta_fast = 32,
                        .beta_slow = 1,
                        .mscale = 0.707,
                        .mscale_all_dim = 0.707};
  model.max_position_embeddings = 163840;
  return model;
}

inline ModelOptions deepseek_v2() {
  ModelOptions model = deepseek_v2_lite();
  model.hidden_size = 5120;
  model.intermediate_size = 12288;
  model.moe_intermediate_size = 1536;
  model.num_hidden_layers = 60;
  model.num_attention_heads = 128;
  model.n_routed_experts = 160;
  model.n_group = 8;
  model.topk_group = 3;
  model.routed_scaling_factor = 16;
  model.q_lora_rank = 1536;
  return model;
}

inline ModelOptions deepseek_v3() {
  ModelOptions model = deepseek_v2();
  model.architecture = Architecture::deepseek_v3;
  model.vocab_size = 129280;
  model.hidden_size = 7168;
  model.intermediate_size = 18432;
  model.moe_intermediate_size = 2048;
  model.num_hidden_layers = 61;
  model.first_k_dense_replace = 3;
  model.n_routed_experts = 256;
  model.n_shared_experts = 1;
  model.num_experts_per_tok = 8;
  model.topk_group = 4;
  model.routed_scaling_factor = 2.5;
  model.rope_scaling.mscale = model.rope_scaling.mscale_all_dim = 1;
  return model;
}

}  // namespace tessera::test
