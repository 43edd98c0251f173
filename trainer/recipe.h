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
#include "trainer/model/length.h"
#include "trainer/model/options.h"
#include "trainer/option_words.h"

namespace tessera {

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
  std::string schedule = "1f1b";          // a name of parallel/pipeline/generators.h, or file:PATH
  int64_t chunks = 0;                     // model chunks per rank; 0: what the schedule needs
  std::vector<int64_t> layers_per_stage;  // empty: auto
  Recomputation recompute = Recomputation::none;
};

struct LossScalingOptions {
  LossScalingMode mode = LossScalingMode::automatic;  // dynamic for f16, none otherwise
  LossScalingStyle style = LossScalingStyle::pytorch;
  double initial = 65536;
  int64_t growth_interval = 2000;
  int64_t hysteresis = 1;  // megatron: overflows tolerated before the scale falls
  double min = 1;
};

struct PrecisionOptions {
  ComputeType compute = ComputeType::bf16;  // the reference device computes in f64
  WideType master_weights = WideType::f32;
  WideType reduce = WideType::f32;
  bool tf32 = false;  // f32 operands of matrix products are rounded to TF32; GPUs only
  LossScalingOptions loss_scaling;
};

struct OptimizerOptions {
  OptimizerName name = OptimizerName::adamw;
  double lr = 1e-3;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8;
  double weight_decay = 0.1;  // on matrices; norm weights are never decayed
  bool decay_embeddings = true;
  double grad_clip = 1.0;  // by global norm; 0: off
};

// A stretch of the learning rate: `lr` throughout, or a line or half a cosine to it.
struct LrPhase {
  LrShape shape = LrShape::constant;
  std::optional<double> lr{};  // none: that of the phase before; before the first: optimizer.lr
  Length length{};
};

struct LrScheduleOptions {
  LrKind kind = LrKind::warmup_cosine;
  Length warmup;
  Length decay;  // cosine: from the start to the minimum, none: the run; wsd: of the last phase
  double min_lr_ratio = 0.1;
  std::vector<double> milestones = {0.8, 0.9};  // multi_step: fractions of the run
  double milestone_factor = 0.316;              // multi_step: what each one multiplies with
  std::vector<LrPhase> phases;                  // phases: from the run's start, the last one holds
};

struct RunOptions {
  int64_t steps = 0;   // or
  int64_t tokens = 0;  // the run ends with the step that reaches them
  Length length() const { return {steps, tokens}; }
  std::string device = "auto";  // auto | cpu | reference | cuda
  bool cuda_graphs = true;      // where shapes allow: model/micro_graphs.h
  int64_t seed = 42;
  Determinism determinism = Determinism::same_layout;
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
  OnPreempt on_preempt = OnPreempt::save;
};

struct FailureOptions {
  OnNonFinite non_finite = OnNonFinite::skip;
  int64_t max_skips = 5;  // in a row; f16 loss scaling allows 20
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
