// SPDX-License-Identifier: Apache-2.0
// `tessera verify` as a person runs it: layouts that keep the promise, and how it says so.
#include "tests/support/workshop.h"

namespace tessera {
namespace {

using Json = nlohmann::json;

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

ProgramResult verify(int ranks, const Words& more) {
  Words words = {"mpirun",
                 "--oversubscribe",
                 "--bind-to",
                 "none",
                 "-n",
                 std::to_string(ranks),
                 TESSERA_BINARY,
                 "verify",
                 "recipe.yaml",
                 "--json",
                 "batch.micro=1",
                 "model.num_hidden_layers=4"};
  words.insert(words.end(), more.begin(), more.end());
  return run_program(words, workshop().options(), 600);
}

TEST(Verify, FindsEveryLayoutAsPromised) {
  const ProgramResult run = verify(
      4,
      {"--layouts",
       "data=1; pipeline=2; pipeline=2,schedule=zb_h1,recompute=full; "
       "pipeline=2,schedule=dualpipe_v; data=2; data=2,zero=1,transport=mpi; data=2,zero=2; "
       "data=2,zero=3,recompute=selective; tensor=2; tensor=2,pipeline=2,schedule=zb_v,threads=2; "
       "data=2,tensor=2,zero=3,compute=bf16; compute=f16,pipeline=2,schedule=gpipe"});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const Json table = Json::parse(run.out);
  ASSERT_EQ(table["layouts"].size(), 12u);
  const std::vector<std::string> expected = {
      "within bound", "bit-equal", "bit-equal",    "bit-equal", "within bound", "bit-equal",
      "within bound", "bit-equal", "within bound", "bit-equal", "within bound", "within bound"};
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(table["layouts"][i]["verdict"], expected[i]) << table["layouts"][i].dump();
}

TEST(Verify, FindsDataRanksEqualWhereTheyAreFree) {
  const ProgramResult run = verify(4, {"run.determinism=layout_free", "--steps", "2", "--layouts",
                                       "data=1; data=2,zero=1; data=4,zero=2; "
                                       "data=2,pipeline=2,zero=3"});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const Json table = Json::parse(run.out);
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(table["layouts"][i]["verdict"], "bit-equal");
}

// Steps of 2, 2, 4 and 6 sequences: other numbers of microbatches, other plans, the same promise.
TEST(Verify, FindsTheSameAlongARamp) {
  const ProgramResult run =
      verify(2, {"batch.ramp={from: 2, increment: 2, tokens: 350}", "--steps", "4", "--layouts",
                 "data=1; pipeline=2,schedule=zb_h1; pipeline=2,schedule=zb_v; data=2; "
                 "data=2,zero=1"});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const Json table = Json::parse(run.out);
  const std::vector<std::string> expected = {"within bound", "bit-equal", "bit-equal",
                                             "within bound", "bit-equal"};
  ASSERT_EQ(table["layouts"].size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(table["layouts"][i]["verdict"], expected[i]) << table["layouts"][i].dump();
}

// The same for a mixture of experts with multi-token prediction, along one routing.
TEST(Verify, FindsEveryGridOfExpertsAsPromised) {
  const ProgramResult run = verify(
      4,
      {"model.architecture=deepseek_v3", "model.num_key_value_heads=null", "model.kv_lora_rank=16",
       "model.qk_nope_head_dim=8", "model.qk_rope_head_dim=4", "model.v_head_dim=8",
       "model.moe_intermediate_size=16", "model.first_k_dense_replace=1",
       "model.n_routed_experts=8", "model.num_experts_per_tok=2", "model.n_shared_experts=1",
       "model.num_nextn_predict_layers=1", "router.balance=aux_free", "--steps", "2", "--layouts",
       "data=2; data=2,expert=2; data=2,expert=2,zero=1,transport=mpi; "
       "data=2,expert=2,zero=3,recompute=full; data=2,tensor=2,expert=4; "
       "tensor=2,expert_tensor=2,pipeline=2,schedule=zb_h1; "
       "data=2,expert=2,pipeline=2,schedule=dualpipe_v,threads=2; "
       "data=2,tensor=2,expert=2,compute=bf16,recompute=selective"});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  const Json table = Json::parse(run.out);
  const std::vector<std::string> expected = {"within bound", "within bound", "bit-equal",
                                             "within bound", "within bound", "within bound",
                                             "bit-equal",    "within bound"};
  ASSERT_EQ(table["layouts"].size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_EQ(table["layouts"][i]["verdict"], expected[i]) << table["layouts"][i].dump();
}

TEST(Verify, RefusesALayoutThatCannotBe) {
  const ProgramResult more = verify(2, {"--layouts", "tensor=4"});
  EXPECT_EQ(more.exit_code, 5);
  EXPECT_NE(more.err.find("needs 4 ranks, this job has 2"), std::string::npos) << more.err;
  const ProgramResult wrong = verify(2, {"--layouts", "tenor=2"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.err.find("unknown key 'tenor'"), std::string::npos) << wrong.err;
}

}  // namespace
}  // namespace tessera
