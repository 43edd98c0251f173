// SPDX-License-Identifier: Apache-2.0
// Every knob of a run, with its default, as plain structs: what a recipe file says
// (launch/recipe/yaml.h reads and writes it). Model keys are those of Hugging Face's config.json,
// parallel keys Megatron's. validate() checks what one value alone cannot: sizes against each other
// and against the number of ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "trainer/length.h"

namespace tessera {

// YaRN (arXiv:2309.00071) as DeepSeek's config.json has it. type empty, factor 0: plain rotary
// embedding.
struct RopeScaling {
  std::string type;  // yarn, or empty
  double factor = 0;
  int64_t original_max_position_embeddings = 4096;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
};

struct ModelOptions {
  std::string architecture = "llama";  // llama | deepseek | deepseek_v2 | deepseek_v3
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
  std::string scoring_func{};  // softmax | sigmoid; empty: the architecture's, see scoring()
  std::string topk_method{};   // greedy | group_limited_greedy | noaux_tc; empty: see selection()
  std::optional<bool> norm_topk_prob{};  // none: the architecture's
  double routed_scaling_factor = 1;

  int64_t num_nextn_predict_layers = 0;  // depth of multi-token prediction

  bool latent_attention() const {
    return architecture == "deepseek_v2" || architecture == "deepseek_v3";
  }
  bool has_experts() const { return architecture != "llama"; }
  // Whether block `layer` (from 0) has experts; those of multi-token prediction do.
  bool has_experts(int64_t layer) const { return has_experts() && layer >= first_k_dense_replace; }
  // The three choices that an architecture makes unless the recipe does (config.json of the
  // published models).
  std::string scoring() const {
    if (!scoring_func.empty()) return scoring_func;
    return architecture == "deepseek_v3" ? "sigmoid" : "softmax";
  }
  std::string selection() const {
    if (!topk_method.empty()) return topk_method;
    if (architecture == "deepseek_v3") return "noaux_tc";
    return n_group > 1 ? "group_limited_greedy" : "greedy";
  }
  bool normalizes_topk() const { return norm_topk_prob.value_or(architecture == "deepseek_v3"); }

  int64_t kv_heads() const {
    return num_key_value_heads ? num_key_value_heads : num_attention_heads;
  }
  // How many neighbouring ranks of a tensor group of this size share each key/value head.
  int kv_replicas(int64_t tensor_ranks) const {
    return static_cast<int>(tensor_ranks > kv_heads() ? tensor_ranks / kv_heads() : 1);
  }
  int64_t head_size() const { return head_dim ? head_dim : hidden_size / num_attention_heads; }
};

struct BlendSource {
  std::string path;
  double weight = 1;
};

struct DataOptions {
  std::string train;               // PREFIX of a .bin/.idx pair
  std::string validation;          // the same; empty: no evaluation
  std::string tokenizer;           // tokenizer.json; empty: bits per byte are not known
  std::vector<BlendSource> blend;  // instead of `train`
  int64_t sequence_length = 256;
  bool attend_across_documents = true;
  bool shuffle = true;
  int64_t seed = 1234;
};

// The batch grows at the beginning of a run: from, from + increment, ... up to global, each size
// but the last for an equal share of the first `tokens` tokens (trainer/timeline.h). from 0: no
// ramp.
struct BatchRamp {
  int64_t from = 0;        // sequences of the first step
  int64_t increment = 0;   // what a size is larger by than the one before
  int64_t tokens = 0;      // the step that begins here or later has the whole batch
  std::string schedule{};  // of steps with too few microbatches for parallel.schedule
};

struct BatchOptions {
  int64_t global = 16;  // sequences per step over all ranks; of a ramp: in the end
  int64_t micro = 4;    // sequences per microbatch of one rank
  BatchRamp ramp{};
};

struct ParallelOptions {
  int64_t data = 0;  // 0: auto, whatever is left of the ranks
  int64_t tensor = 1;
  int64_t pipeline = 1;
  int64_t context = 1;
  int64_t expert = 1;
  int64_t expert_tensor = 1;
  int64_t zero = 0;
  std::string schedule = "1f1b";          // a name of pipeline/generators.h, or file:PATH
  int64_t chunks = 0;                     // model chunks per rank; 0: what the schedule needs
  std::vector<int64_t> layers_per_stage;  // empty: auto
  std::string recompute = "none";         // none | selective | full
};

struct LossScalingOptions {
  std::string mode = "auto";      // auto: dynamic for f16, none otherwise | none | dynamic
  std::string style = "pytorch";  // pytorch | megatron
  double initial = 65536;
  int64_t growth_interval = 2000;
  int64_t hysteresis = 1;  // megatron: overflows tolerated before the scale falls
  double min = 1;
};

struct PrecisionOptions {
  std::string compute = "bf16";  // f32 | bf16 | f16; the reference device computes in f64
  std::string master_weights = "f32";
  std::string reduce = "f32";
  bool tf32 = false;  // f32 operands of matrix products are rounded to TF32; GPUs only
  LossScalingOptions loss_scaling;
};

struct OptimizerOptions {
  std::string name = "adamw";
  double lr = 1e-3;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;  // on matrices; norm weights are never decayed
  bool decay_embeddings = true;
  double grad_clip = 1.0;  // by global norm; 0: off
};

// A stretch of the learning rate: `lr` throughout, or a line or half a cosine to it.
struct LrPhase {
  std::string shape = "constant";  // constant | linear | cosine
  std::optional<double> lr{};      // none: that of the phase before; before the first: optimizer.lr
  Length length{};
};

struct LrScheduleOptions {
  std::string kind = "warmup_cosine";  // constant | warmup_cosine | wsd | multi_step | phases
  Length warmup;
  Length decay;  // cosine: from the start to the minimum, none: the run; wsd: of the last phase
  double min_lr_ratio = 0.1;
  std::vector<double> milestones = {0.8, 0.9};  // multi_step: fractions of the run
  double milestone_factor = 0.316;              // multi_step: what each one multiplies with
  std::vector<LrPhase> phases;                  // phases: from the run's start, the last one holds
};

// How the load of experts is balanced. The losses' factors are those of the papers: DeepSeek-V3
// (arXiv:2412.19437) 2.1.2, DeepSeek-V2 (arXiv:2405.04434) 2.2.3.
struct RouterOptions {
  std::string balance = "none";       // none | aux_free: a bias per expert, for the choice alone
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

struct RunOptions {
  int64_t steps = 0;   // or
  int64_t tokens = 0;  // the run ends with the step that reaches them
  Length length() const { return {steps, tokens}; }
  std::string device = "auto";  // auto | cpu | reference | cuda
  bool cuda_graphs = true;      // where shapes allow: model/micro_graphs.h
  int64_t seed = 42;
  std::string determinism = "same_layout";
  int64_t log_every = 10;
  int64_t eval_every = 0;    // steps; 0: only at the end
  int64_t eval_batches = 0;  // global batches of the validation split; 0: all of it
};

struct KeepOptions {
  int64_t last = 3;
  int64_t every = 0;
};

struct CheckpointOptions {
  std::string directory = "{run}/checkpoints";  // {name} and {run} are replaced
  int64_t every_steps = 0;                      // 0: only at the end
  double every_seconds = 0;                     // e.g. "30min"
  KeepOptions keep;
  int64_t max_failures = 3;
  std::string on_preempt = "save";  // save | stop
};

struct FailureOptions {
  std::string non_finite = "skip";  // skip | stop
  int64_t max_skips = 5;            // in a row; f16 loss scaling allows 20
  double hang_timeout_seconds = 600;
  double start_timeout_seconds = 1800;
  double save_timeout_seconds = 1800;
};

struct MetricsOptions {
  bool jsonl = true;
  bool tensorboard = true;
};

struct ProfileOptions {
  int64_t first_step = 0;  // traced, with all between them; 0: none
  int64_t last_step = 0;
};

struct Recipe {
  int64_t version = 1;
  std::string name;
  ModelOptions model;
  DataOptions data;
  BatchOptions batch;
  ParallelOptions parallel;
  PrecisionOptions precision;
  OptimizerOptions optimizer;
  LrScheduleOptions lr_schedule;
  RouterOptions router;
  MtpOptions mtp;
  RunOptions run;
  CheckpointOptions checkpoint;
  FailureOptions on_failure;
  MetricsOptions metrics;
  ProfileOptions profile;

  DType compute_type() const;  // f64 on the reference device
};

// One broken rule: which key, what is wrong, what to do.
struct RecipeProblem {
  ErrorKind kind = ErrorKind::usage;
  std::string key;  // "parallel.tensor"
  std::string message;
};

// Everything wrong with the values, all at once; empty when the recipe can run on num_ranks
// (0: any number). Allocates nothing.
std::vector<RecipeProblem> validate(const Recipe& recipe, int num_ranks);

// The recipe's layout with other sizes of the tensor, pipeline and data axes that num_ranks can
// have: at most `most`, the nearest to the recipe's first. A size counts by how often it was
// doubled or halved.
std::vector<ParallelOptions> legal_layouts(const Recipe& recipe, int num_ranks, size_t most);

}  // namespace tessera
