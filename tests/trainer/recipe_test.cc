// SPDX-License-Identifier: Apache-2.0
#include "trainer/recipe.h"

#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/router.h"
#include "parallel/pipeline/generators.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/training_plan.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Recipe sound() {
  return tiny_recipe("corpus");
}

struct Rule {
  std::string key;
  std::function<void(Recipe&)> break_it;
  ErrorKind kind = ErrorKind::usage;
};

std::vector<LrPhase> phases(int64_t first, int64_t second) {
  return {{.length = {.steps = first}}, {.lr = 1e-3, .length = {.steps = second}}};
}

const std::vector<Rule> kRules = {
    {"recipe", [](Recipe& r) { r.version = 2; }},
    {"name", [](Recipe& r) { r.name = ""; }},
    {"model.vocab_size", [](Recipe& r) { r.model.vocab_size = 0; }},
    {"model.hidden_size", [](Recipe& r) { r.model.hidden_size = 0; }},
    {"model.intermediate_size", [](Recipe& r) { r.model.intermediate_size = 0; }},
    {"model.num_hidden_layers", [](Recipe& r) { r.model.num_hidden_layers = 0; }},
    {"model.num_attention_heads", [](Recipe& r) { r.model.num_attention_heads = 0; }},
    {"model.num_key_value_heads", [](Recipe& r) { r.model.num_key_value_heads = 3; }},
    {"model.num_key_value_heads", [](Recipe& r) { r.model.num_key_value_heads = -1; }},
    {"model.hidden_size", [](Recipe& r) { r.model.hidden_size = 18; }},
    {"model.head_dim", [](Recipe& r) { r.model.head_dim = 5; }},
    {"model.head_dim", [](Recipe& r) { r.model.head_dim = -2; }},
    {"model.initializer_range", [](Recipe& r) { r.model.initializer_range = 0; }},
    {"model.rms_norm_eps", [](Recipe& r) { r.model.rms_norm_eps = 0; }},
    {"model.rope_theta", [](Recipe& r) { r.model.rope_theta = -1; }},
    {"model.max_position_embeddings", [](Recipe& r) { r.model.max_position_embeddings = 11; }},
    {"model.kv_lora_rank", [](Recipe& r) { r.model.kv_lora_rank = 8; }},
    {"model.v_head_dim", [](Recipe& r) { r.model.v_head_dim = 8; }},
    {"model.rope_scaling.factor", [](Recipe& r) { r.model.rope_scaling.factor = 4; }},
    {"model.n_routed_experts", [](Recipe& r) { r.model.n_routed_experts = 8; }},
    {"model.norm_topk_prob", [](Recipe& r) { r.model.norm_topk_prob = false; }},
    {"router.balance", [](Recipe& r) { r.router.balance = Balance::aux_free; }},
    {"data.train", [](Recipe& r) { r.data.train = ""; }},
    {"data.blend",
     [](Recipe& r) {
       r.data.blend = {{"other", 1}};
     }},
    {"data.blend",
     [](Recipe& r) {
       r.data.train = "";
       r.data.blend = {{"one", 1}, {"two", 0}};
     }},
    {"data.sequence_length", [](Recipe& r) { r.data.sequence_length = 0; }},
    {"batch.global", [](Recipe& r) { r.batch.global = 0; }},
    {"batch.micro", [](Recipe& r) { r.batch.micro = 0; }},
    {"batch.global", [](Recipe& r) { r.batch.global = 6; }, ErrorKind::capacity},
    {"batch.global",
     [](Recipe& r) {
       r.batch.global = int64_t{1} << 30;  // more microbatches than a plan lists
       r.batch.micro = 1;
     },
     ErrorKind::capacity},
    // Cut to 32 bits these would be 8 sequences and one rank.
    {"batch.global", [](Recipe& r) { r.batch.global = (int64_t{1} << 32) + 8; }},
    {"batch.micro", [](Recipe& r) { r.batch.micro = (int64_t{1} << 62) + 2; }},
    {"parallel.data", [](Recipe& r) { r.parallel.data = (int64_t{1} << 32) + 2; }},
    {"parallel.tensor", [](Recipe& r) { r.parallel.tensor = (int64_t{1} << 32) + 1; }},
    {"parallel.pipeline", [](Recipe& r) { r.parallel.pipeline = (int64_t{1} << 32) + 1; }},
    {"parallel.data", [](Recipe& r) { r.parallel.data = 4; }, ErrorKind::capacity},
    {"parallel.tensor", [](Recipe& r) { r.parallel.tensor = 0; }},
    {"parallel", [](Recipe& r) { r.parallel.pipeline = 3; }, ErrorKind::capacity},
    {"parallel.pipeline", [](Recipe& r) { r.parallel.pipeline = 0; }},
    {"parallel.context", [](Recipe& r) { r.parallel.context = 2; }, ErrorKind::capacity},
    {"parallel.expert", [](Recipe& r) { r.parallel.expert = 2; }, ErrorKind::capacity},
    {"parallel.expert_tensor", [](Recipe& r) { r.parallel.expert_tensor = 2; },
     ErrorKind::capacity},
    {"parallel.zero", [](Recipe& r) { r.parallel.zero = 4; }},
    {"parallel.schedule", [](Recipe& r) { r.parallel.schedule = "2f2b"; }, ErrorKind::capacity},
    {"parallel.layers_per_stage", [](Recipe& r) { r.parallel.layers_per_stage = {1}; },
     ErrorKind::capacity},
    {"precision.loss_scaling.initial", [](Recipe& r) { r.precision.loss_scaling.initial = 0; }},
    {"precision.loss_scaling.min", [](Recipe& r) { r.precision.loss_scaling.min = 0; }},
    {"precision.loss_scaling.growth_interval",
     [](Recipe& r) { r.precision.loss_scaling.growth_interval = 0; }},
    {"precision.loss_scaling.hysteresis",
     [](Recipe& r) { r.precision.loss_scaling.hysteresis = 0; }},
    {"optimizer.lr", [](Recipe& r) { r.optimizer.lr = 0; }},
    {"optimizer.betas", [](Recipe& r) { r.optimizer.betas = {0.9}; }},
    {"optimizer.betas",
     [](Recipe& r) {
       r.optimizer.betas = {0.9, 1};
     }},
    {"optimizer.eps", [](Recipe& r) { r.optimizer.eps = 0; }},
    {"optimizer.weight_decay", [](Recipe& r) { r.optimizer.weight_decay = -1; }},
    {"optimizer.grad_clip", [](Recipe& r) { r.optimizer.grad_clip = -1; }},
    {"lr_schedule.warmup_steps", [](Recipe& r) { r.lr_schedule.warmup.steps = -1; }},
    {"lr_schedule.decay_steps", [](Recipe& r) { r.lr_schedule.decay.steps = -1; }},
    {"lr_schedule.min_lr_ratio", [](Recipe& r) { r.lr_schedule.min_lr_ratio = 1.5; }},
    {"run.steps", [](Recipe& r) { r.run.steps = 0; }},
    {"run.tokens", [](Recipe& r) { r.run.tokens = 1000; }},
    {"run.tokens", [](Recipe& r) { r.run.tokens = -1; }},
    {"run.log_every", [](Recipe& r) { r.run.log_every = 0; }},
    {"lr_schedule.warmup_tokens", [](Recipe& r) { r.lr_schedule.warmup.tokens = 9; }},
    {"lr_schedule.decay_tokens",
     [](Recipe& r) {
       r.lr_schedule.kind = LrKind::constant;
       r.lr_schedule.decay.tokens = 9;
     }},
    {"lr_schedule.phases", [](Recipe& r) { r.lr_schedule.kind = LrKind::phases; }},
    {"lr_schedule.phases", [](Recipe& r) { r.lr_schedule.phases = phases(9, 9); }},
    {"lr_schedule.phases",
     [](Recipe& r) {
       r.lr_schedule.kind = LrKind::phases;
       r.lr_schedule.phases = phases(1, 9);  // the warm-up is longer
     }},
    {"lr_schedule.phases",
     [](Recipe& r) {
       r.lr_schedule.kind = LrKind::phases;
       r.lr_schedule.phases = phases(9, 9);
       r.lr_schedule.phases[1].length = {.tokens = 9};
     }},
    {"mtp.second_phase_tokens", [](Recipe& r) { r.mtp.second_phase = {.steps = 1, .tokens = 1}; }},
    {"batch.ramp.from",
     [](Recipe& r) { r.batch.ramp = {.from = 8, .increment = 4, .tokens = 100}; }},
    {"batch.ramp.increment",
     [](Recipe& r) { r.batch.ramp = {.from = 4, .increment = 3, .tokens = 100}; }},
    {"batch.ramp.increment",
     [](Recipe& r) { r.batch.ramp = {.from = 4, .increment = 2, .tokens = 100}; },
     ErrorKind::capacity},
    {"batch.ramp.tokens", [](Recipe& r) { r.batch.ramp = {.from = 4, .increment = 4}; }},
    {"batch.ramp.tokens", [](Recipe& r) { r.batch.ramp.tokens = 100; }},
    {"batch.ramp.increment",
     [](Recipe& r) {
       r.batch.global = 4 * 300;
       r.batch.ramp = {.from = 4, .increment = 4, .tokens = 100};
     }},
    {"run.determinism",
     [](Recipe& r) {
       r.run.determinism = Determinism::layout_free;
       r.batch.global = 16;  // 1, 2, 3 and 4 microbatches
       r.batch.ramp = {.from = 4, .increment = 4, .tokens = 100};
     },
     ErrorKind::capacity},
    {"precision.tf32",
     [](Recipe& r) {
       r.precision.compute = ComputeType::bf16;
       r.precision.tf32 = true;
     }},
    {"run.device", [](Recipe& r) { r.run.device = "tpu"; }},
    {"run.eval_every", [](Recipe& r) { r.run.eval_every = -1; }},
    {"run.eval_batches", [](Recipe& r) { r.run.eval_batches = -1; }},
    {"checkpoint.every", [](Recipe& r) { r.checkpoint.every_steps = -1; }},
    {"checkpoint.every", [](Recipe& r) { r.checkpoint.every_seconds = -1; }},
    {"checkpoint.keep.every", [](Recipe& r) { r.checkpoint.keep.every = -1; }},
    {"on_failure.max_skips", [](Recipe& r) { r.on_failure.max_skips = -1; }},
    {"on_failure.hang_timeout", [](Recipe& r) { r.on_failure.hang_timeout_seconds = -1; }},
    {"on_failure.start_timeout", [](Recipe& r) { r.on_failure.start_timeout_seconds = -1; }},
    {"on_failure.save_timeout", [](Recipe& r) { r.on_failure.save_timeout_seconds = -1; }},
    {"checkpoint.max_failures", [](Recipe& r) { r.checkpoint.max_failures = 0; }},
};

TEST(Validate, FindsNothingWrongWithASoundRecipe) {
  for (const int ranks : {0, 1, 2, 4}) EXPECT_TRUE(validate(sound(), ranks).empty()) << ranks;
}

TEST(Validate, NamesTheKeyOfEveryRuleThatIsBroken) {
  for (const Rule& rule : kRules) {
    Recipe recipe = sound();
    rule.break_it(recipe);
    const std::vector<RecipeProblem> problems = validate(recipe, 2);
    ASSERT_EQ(problems.size(), 1u) << rule.key << (problems.empty() ? "" : problems[0].message);
    EXPECT_EQ(problems[0].key, rule.key) << problems[0].message;
    EXPECT_EQ(problems[0].kind, rule.kind) << rule.key;
    EXPECT_FALSE(problems[0].message.empty()) << rule.key;
  }
}

Recipe sound_deepseek() {
  Recipe recipe = sound();
  ModelOptions& model = recipe.model;
  model.architecture = Architecture::deepseek_v3;
  model.num_key_value_heads = 0;
  model.q_lora_rank = 6;
  model.kv_lora_rank = 8;
  model.qk_nope_head_dim = 4;
  model.qk_rope_head_dim = 2;
  model.v_head_dim = 4;
  model.first_k_dense_replace = 1;
  model.moe_intermediate_size = 8;
  model.n_routed_experts = 8;
  model.num_experts_per_tok = 4;
  model.n_shared_experts = 1;
  model.n_group = 4;
  model.topk_group = 2;
  model.num_nextn_predict_layers = 1;
  recipe.router.balance = Balance::aux_free;
  return recipe;
}

const std::vector<Rule> kDeepSeekRules = {
    {"parallel.expert", [](Recipe& r) { r.parallel.expert = 3; }, ErrorKind::capacity},
    {"parallel.expert_tensor", [](Recipe& r) { r.parallel.expert = r.parallel.expert_tensor = 8; },
     ErrorKind::capacity},
    {"router.device_aux_loss",
     [](Recipe& r) {
       r.model.n_group = r.model.topk_group = 1;
       r.router.device_aux_loss = 0.1;
     }},
    {"model.kv_lora_rank", [](Recipe& r) { r.model.kv_lora_rank = 0; }},
    {"model.q_lora_rank", [](Recipe& r) { r.model.q_lora_rank = -1; }},
    {"model.qk_nope_head_dim", [](Recipe& r) { r.model.qk_nope_head_dim = 0; }},
    {"model.qk_rope_head_dim", [](Recipe& r) { r.model.qk_rope_head_dim = 3; }},
    {"model.v_head_dim", [](Recipe& r) { r.model.v_head_dim = 0; }},
    {"model.head_dim", [](Recipe& r) { r.model.head_dim = 4; }},
    {"model.num_key_value_heads", [](Recipe& r) { r.model.num_key_value_heads = 2; }},
    {"model.rope_scaling.factor", [](Recipe& r) { r.model.rope_scaling.type = RopeType::yarn; }},
    {"model.first_k_dense_replace", [](Recipe& r) { r.model.first_k_dense_replace = 9; }},
    {"model.moe_intermediate_size", [](Recipe& r) { r.model.moe_intermediate_size = 0; }},
    {"model.n_group", [](Recipe& r) { r.model.n_group = 3; }},
    {"model.topk_group", [](Recipe& r) { r.model.topk_group = 5; }},
    {"model.num_experts_per_tok", [](Recipe& r) { r.model.topk_group = 1; }},
    {"router.balance", [](Recipe& r) { r.model.topk_method = Selection::group_limited_greedy; }},
    {"router.expert_buffer", [](Recipe& r) { r.router.expert_buffer = 0.5; }},
    {"model.routed_scaling_factor", [](Recipe& r) { r.model.routed_scaling_factor = 0; }},
    {"model.num_nextn_predict_layers", [](Recipe& r) { r.model.num_nextn_predict_layers = 12; }},
    {"mtp.loss_weight", [](Recipe& r) { r.mtp.loss_weight = -1; }},
};

TEST(Validate, NamesTheKeyOfEveryRuleOfDeepSeekThatIsBroken) {
  EXPECT_TRUE(validate(sound_deepseek(), 2).empty());
  for (const Rule& rule : kDeepSeekRules) {
    Recipe recipe = sound_deepseek();
    rule.break_it(recipe);
    const std::vector<RecipeProblem> problems = validate(recipe, 2);
    ASSERT_GE(problems.size(), 1u) << rule.key;
    EXPECT_EQ(problems[0].key, rule.key) << problems[0].message;
    EXPECT_EQ(problems[0].kind, rule.kind) << rule.key;
  }
}

TEST(ModelOptions, LeaveWhatTheRecipeDoesNotSayToTheArchitecture) {
  ModelOptions model;
  model.architecture = Architecture::deepseek_v3;
  EXPECT_EQ(model.scoring(), Scoring::sigmoid);
  EXPECT_EQ(model.selection(), Selection::noaux_tc);
  EXPECT_TRUE(model.normalizes_topk());
  model.norm_topk_prob = false;
  model.scoring_func = Scoring::softmax;
  EXPECT_FALSE(model.normalizes_topk());
  EXPECT_EQ(model.scoring(), Scoring::softmax);
  model = {};
  model.architecture = Architecture::deepseek_v2;
  EXPECT_EQ(model.selection(), Selection::greedy);
  EXPECT_FALSE(model.normalizes_topk());
  model.n_group = 8;
  EXPECT_EQ(model.selection(), Selection::group_limited_greedy);
}

// 2 ranks of one pipeline: dualpipe_v wants 4 microbatches.
TEST(Validate, LooksAtTheMicrobatchesOfEverySizeOfARamp) {
  Recipe recipe = sound();
  recipe.model.num_hidden_layers = 4;
  recipe.parallel.pipeline = 2;
  recipe.parallel.schedule = "dualpipe_v";
  recipe.batch.ramp = {.from = 4, .increment = 2, .tokens = 100};
  const std::vector<RecipeProblem> few = validate(recipe, 2);
  ASSERT_EQ(few.size(), 1u);
  EXPECT_EQ(few[0].key, "batch.ramp.from");
  EXPECT_EQ(few[0].kind, ErrorKind::capacity);
  EXPECT_THAT(few[0].message,
              AllOf(HasSubstr("a step of 4 sequences has 2 microbatches a pipeline"),
                    HasSubstr("nearest is 4 (each is 2 sequences over the data ranks)"),
                    HasSubstr("batch.ramp.schedule")));
  recipe.batch.ramp.schedule = "zb_v";
  EXPECT_TRUE(validate(recipe, 2).empty());
  recipe.batch.ramp.schedule = "1f1b";
  const std::vector<RecipeProblem> elsewhere = validate(recipe, 2);
  ASSERT_EQ(elsewhere.size(), 1u);
  EXPECT_EQ(elsewhere[0].key, "batch.ramp.schedule");
  EXPECT_THAT(elsewhere[0].message, HasSubstr("deals the layers to other ranks than dualpipe_v"));
}

// A plan in a file is for one number of microbatches; a ramp needs another schedule for the rest.
TEST(Validate, LetsARampLeadUpToAPlanFromAFile) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "plan") << to_string(one_f_one_b(2, 4));
  Recipe recipe = sound();
  recipe.parallel.pipeline = 2;
  recipe.parallel.schedule = "file:" + (directory / "plan");
  EXPECT_TRUE(validate(recipe, 2).empty());
  recipe.batch.ramp = {.from = 4, .increment = 2, .tokens = 100};
  const std::vector<RecipeProblem> problems = validate(recipe, 2);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].key, "batch.ramp.from");
  EXPECT_THAT(problems[0].message, HasSubstr("is a plan for 2 ranks and 4 microbatches"));
  recipe.batch.ramp.schedule = "gpipe";
  EXPECT_TRUE(validate(recipe, 2).empty());
  EXPECT_EQ(layout_of_step(recipe, 2).schedule, "gpipe");
  EXPECT_EQ(layout_of_step(recipe, 4).schedule, recipe.parallel.schedule);
}

TEST(Validate, TellsEverythingAtOnceAndTheNearestLegalBatches) {
  Recipe recipe = sound();
  recipe.run.steps = 0;
  recipe.optimizer.lr = 0;
  recipe.batch.global = 7;
  const std::vector<RecipeProblem> problems = validate(recipe, 2);
  ASSERT_EQ(problems.size(), 3u);
  EXPECT_THAT(problems[0].message, AllOf(HasSubstr("7 sequences"), HasSubstr("microbatches of 2"),
                                         HasSubstr("on 2 data rank(s)"), HasSubstr("4 or 8")));
  EXPECT_THAT(problems[1].message, HasSubstr("above 0"));
  // Without a number of ranks the batch cannot be judged.
  EXPECT_EQ(validate(recipe, 0).size(), 2u);
}

TEST(Recipe, ComputesInF64OnTheReference) {
  Recipe recipe = sound();
  recipe.precision.compute = ComputeType::bf16;
  EXPECT_EQ(recipe.compute_type(), DType::bf16);
  recipe.run.device = "reference";
  EXPECT_EQ(recipe.compute_type(), DType::f64);
}

}  // namespace
}  // namespace tessera::test
