// SPDX-License-Identifier: Apache-2.0
// `tessera plan` plays of a recipe what a rank does: the same calls of the same groups in the same
// order with the same bytes. Every recipe of recipes/ is tried, its model made narrow and
// its axes cut down to this many ranks, and so are the layouts that no recipe has.
#include <filesystem>

#include <gtest/gtest.h>

#include "launch/recipe/reader.h"
#include "tests/support/rank_world.h"
#include "tests/support/recording_communicator.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/planner.h"
#include "trainer/trainer.h"

namespace tessera::test {
namespace {

const std::string kRecipes = std::string(TESSERA_SOURCE_DIR) + "/recipes/";

void narrow(ModelOptions& model) {
  const auto at_most = [](int64_t& value, int64_t most) { value = std::min(value, most); };
  model.vocab_size = 29;
  model.hidden_size = 16;
  model.intermediate_size = 24;
  at_most(model.num_hidden_layers, 8);
  at_most(model.num_attention_heads, 4);
  at_most(model.num_key_value_heads, 2);
  at_most(model.head_dim, 4);
  at_most(model.q_lora_rank, 8);
  at_most(model.kv_lora_rank, 10);
  at_most(model.qk_nope_head_dim, 6);
  at_most(model.qk_rope_head_dim, 2);
  at_most(model.v_head_dim, 4);
  at_most(model.first_k_dense_replace, 1);
  at_most(model.moe_intermediate_size, 8);
  at_most(model.n_routed_experts, 8);
  at_most(model.num_experts_per_tok, 2);
  at_most(model.n_shared_experts, 1);
  at_most(model.n_group, 2);
  at_most(model.topk_group, 1);
}

// Each axis that the recipe has keeps two ranks of `ranks` as long as there are some.
void cut_down(ParallelOptions& parallel, int64_t ranks) {
  const auto two = [&](int64_t& axis) {
    axis = axis > 1 && ranks > 1 ? 2 : 1;
    ranks /= axis;
  };
  two(parallel.pipeline);
  two(parallel.tensor);
  if (parallel.pipeline == 1) {
    parallel.schedule = "1f1b";
    parallel.chunks = 0;
  }
  parallel.expert = parallel.expert > 1 && ranks > 1 ? 2 : 1;  // lies within the data axis
  parallel.chunks = std::min<int64_t>(parallel.chunks, 2);
  parallel.layers_per_stage.clear();
  parallel.data = 0;
}

class StepCalls : public testing::Test {
 protected:
  StepCalls() {
    if (world().rank() == 0) {
      mine_.emplace();
      tokens_ = *mine_ / "tokens";
      write_tiny_tokens(tokens_);
    }
    tokens_ = world().all().broadcast(tokens_, 0, "tokens");
  }
  ~StepCalls() override { world().all().barrier("end of test"); }

  Recipe small(Recipe recipe) const {
    narrow(recipe.model);
    cut_down(recipe.parallel, world().size());
    recipe.data = {};
    recipe.data.train = tokens_;
    recipe.data.sequence_length = 12;
    recipe.batch = {.global = 16, .micro = 1};
    recipe.lr_schedule = {};
    recipe.run = {};
    recipe.run.steps = 4;
    recipe.run.device = "cpu";
    recipe.router.expert_buffer = 1000;  // one round, however uneven the load is
    recipe.checkpoint = {};
    return recipe;
  }

  // The real step alone knows which rows an expert gets.
  static DryCalls comparable(DryCalls calls) {
    for (DryCall& call : calls)
      if (call.group == "expert" || call.group == "expert tensor") call.bytes = 0;
    return calls;
  }

  void expect_equal_calls(const Recipe& recipe) {
    for (const RecipeProblem& problem : validate(recipe, world().size()))
      ADD_FAILURE() << problem.key << ": " << problem.message;
    if (HasFailure()) return;
    const DryJob job(recipe, world().size());
    const DryCalls planned = comparable(job.play(world().rank()).calls);

    Communicators comms(world(), job.grid(), recipe.model.kv_replicas(recipe.parallel.tensor));
    const auto real = std::make_shared<DryCalls>();
    comms.replace([&](Communicator& group) { return recording(group, world().rank(), real); });
    Trainer trainer(recipe, Device{}, comms);
    for (int step = 0; step < 2; ++step) {
      real->clear();
      ASSERT_TRUE(trainer.step({}).applied);
      const DryCalls said = comparable(*real);
      ASSERT_GT(said.size(), 0u);
      for (size_t i = 0; i < std::min(said.size(), planned.size()); ++i)
        ASSERT_EQ(said[i], planned[i])
            << "call " << i << ": " << said[i].group << " " << said[i].operation << " "
            << said[i].tag << " of " << said[i].bytes << " bytes, planned " << planned[i].group
            << " " << planned[i].operation << " " << planned[i].tag << " of " << planned[i].bytes;
      ASSERT_EQ(said.size(), planned.size());
    }
  }

  std::optional<TemporaryDirectory> mine_;
  std::string tokens_;
};

TEST_F(StepCalls, AreWhatIsPlanned) {
  int tried = 0;
  for (const auto& file : std::filesystem::directory_iterator(kRecipes)) {
    if (file.path().extension() != ".yaml") continue;
    SCOPED_TRACE(file.path().filename());
    expect_equal_calls(small(load_recipe(file.path(), {}, 0).recipe));
    ++tried;
  }
  EXPECT_GT(tried, 10);
}

TEST_F(StepCalls, AreWhatIsPlannedInLayoutsThatNoRecipeHas) {
  const struct {
    const char* name;
    void (*set)(Recipe& recipe);
  } kChanges[] = {
      {"zero 2", [](Recipe& r) { r.parallel.zero = 2; }},
      {"zero 3", [](Recipe& r) { r.parallel.zero = 3; }},
      {"layout_free", [](Recipe& r) { r.run.determinism = Determinism::layout_free; }},
      {"f16", [](Recipe& r) { r.precision.compute = ComputeType::f16; }},
      {"tensor", [](Recipe& r) { r.parallel.tensor = 2; }},
      {"tied ends",
       [](Recipe& r) {
         r.parallel.pipeline = 2;
         r.model.tie_word_embeddings = true;
       }},
      {"balance losses", [](Recipe& r) { r.router.sequence_aux_loss = 0.001; }},
      {"no biases", [](Recipe& r) { r.router.balance = Balance::none; }},
      {"experts", [](Recipe& r) { r.parallel.expert = 2; }},
  };
  for (const char* file : {"llama_124m.yaml", "deepseek_tiny.yaml"})
    for (const auto& change : kChanges) {
      SCOPED_TRACE(std::string(file) + ", " + change.name);
      Recipe recipe = small(load_recipe(kRecipes + file, {}, 0).recipe);
      change.set(recipe);
      if (!recipe.model.has_experts() &&
          (recipe.parallel.expert > 1 || recipe.router.sequence_aux_loss > 0))
        continue;
      expect_equal_calls(recipe);
    }
}

}  // namespace
}  // namespace tessera::test
