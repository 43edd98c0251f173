// SPDX-License-Identifier: Apache-2.0
// `tessera verify` over its whole covering array of layouts, of models so small that the ranks'
// exchange is all that takes time.
#pragma once

#include "tests/support/workshop.h"

namespace tessera::test {

// A mixture with `prediction` layers of multi-token prediction; none: a dense decoder.
inline Words small_model(bool experts, int prediction) {
  Words words = {"batch.micro=1", "model.num_hidden_layers=8", "model.hidden_size=32",
                 "model.intermediate_size=64", "model.num_attention_heads=4"};
  const Words mixture = {"model.architecture=deepseek_v3",
                         "model.num_key_value_heads=null",
                         "model.kv_lora_rank=16",
                         "model.qk_nope_head_dim=8",
                         "model.qk_rope_head_dim=4",
                         "model.v_head_dim=8",
                         "model.moe_intermediate_size=16",
                         "model.first_k_dense_replace=1",
                         "model.n_routed_experts=8",
                         "model.num_experts_per_tok=2",
                         "model.n_shared_experts=1",
                         "router.balance=aux_free",
                         "model.num_nextn_predict_layers=" + std::to_string(prediction)};
  if (experts) words.insert(words.end(), mixture.begin(), mixture.end());
  return words;
}

// No layout of `ranks` ranks differs, and there are at least `fewest` of them.
inline void expect_no_layout_differs(int ranks, const Words& model, size_t fewest) {
  const Workshop workshop;
  Words words = {"mpirun", "--oversubscribe", "--bind-to", "none", "-n", std::to_string(ranks)};
  for (const char* word : {TESSERA_BINARY, "verify", "recipe.yaml", "--json", "--steps", "2"})
    words.push_back(word);
  words.insert(words.end(), model.begin(), model.end());
  const ProgramResult run = run_program(words, workshop.options(), 1800);
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const nlohmann::json layouts = nlohmann::json::parse(run.out).at("layouts");
  EXPECT_GE(layouts.size(), fewest);
  std::map<std::string, int> verdicts;
  for (const auto& layout : layouts) ++verdicts[layout.at("verdict")];
  EXPECT_EQ(verdicts["DIFFERS"], 0) << run.out;
  EXPECT_GT(verdicts["bit-equal"], 0);
  EXPECT_GT(verdicts["within bound"], 0);
}

}  // namespace tessera::test
