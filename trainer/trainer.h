// SPDX-License-Identifier: Apache-2.0
// A run of training steps, and everything that it must remember: what each step is given, what came
// of it, where the run is. Owns the step's wiring (step.h) and the data of this rank; does no
// arithmetic itself. One thread drives it; all ranks call the same member functions in the same
// order.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/state.h"
#include "data/eval_windows.h"
#include "data/loader.h"
#include "parallel/communicators.h"
#include "trainer/model/counts.h"
#include "trainer/optim/loss_scaler.h"
#include "trainer/optim/lr_schedule.h"
#include "trainer/recipe.h"
#include "trainer/step.h"
#include "trainer/to_micro.h"

namespace tessera {

struct StepReport {
  int64_t step = 0;      // batches consumed, from 1
  int64_t updates = 0;   // updates applied so far
  double loss = 0;       // mean over all target tokens of the step, of all ranks
  double grad_norm = 0;  // global, before clipping, unscaled
  double learning_rate = 0;
  double loss_scale = 1;
  double grad_unscale = 1;  // times a summed gradient: the gradient of the mean loss
  bool applied = true;
  std::string overflow;  // when not applied: the first bad tensor and on which ranks
  double mtp_loss = 0;   // of multi-token prediction: mean over its depths, without weight
  double aux_loss = 0;   // balance losses: mean over sequences of their sum over layers
  std::vector<ExpertLoad> expert_loads{};  // of each layer with experts
  int64_t extra_rounds = 0;                // of expert buffers, over all ranks and microbatches
  int64_t sequences = 0;                   // of this step, over all ranks
  int64_t samples = 0;                     // sequences so far
  int64_t target_tokens = 0;               // of this step
  int64_t tokens = 0;                      // running total
  double seconds = 0;                      // of the step
  double data_seconds = 0;                 // of it, waiting for the next batch
  double comm_seconds = 0;                 // of it, waiting for other ranks
  StepWishes agreed;

  double expert_load() const;  // the largest of an expert over the mean; mean over layers
};

struct EvalReport {
  int64_t step = 0;
  double loss = 0;  // nats per target token
  int64_t tokens = 0;
  double bits_per_byte = 0;  // 0: no tokenizer, so bytes are not known
  double seconds = 0;
  bool stopped = false;  // before its end: nothing else is known but the step
  double perplexity() const;
};

class Trainer {
 public:
  // Builds the model of this rank with initial weights. The recipe is valid for this world.
  Trainer(const Recipe& recipe, Device device, const Communicators& comms);

  // One step, and what came of it.
  StepReport step(const StepWishes& wishes);
  // The same without waiting where the device need not wait for the host (reports_late()): queues a
  // step and returns the report of the one before, nothing after the first. Elsewhere as step().
  std::optional<StepReport> advance(const StepWishes& wishes);
  // The report of the last step if nobody has it yet. Call it before the run's state is read.
  std::optional<StepReport> settle();
  bool reports_late() const;
  // Over the validation split (or eval_batches of it), the same windows on any number of ranks.
  // `progress` hears now and then what part of this rank's windows is done. `stop` is asked now and
  // then on every rank; when it says yes on any, all leave with a report that is `stopped`.
  EvalReport evaluate(
      const std::function<void(double part)>& progress = [](double) {},
      const std::function<bool()>& stop = {});

  // All that continues the run, at the end of a settled step: masters, moments, scaler, data
  // cursor, step and updates.
  State state() const;
  // After load_checkpoint() filled state()'s tensors: takes over the scalars and publishes weights.
  void restore(const State& state);
  // The gradients of the last step as the optimizer read them, role "grad".
  State gradients() const;
  // The weights alone, for --init-from; publish_weights() after they were filled.
  State weights() const;
  void publish_weights();

  int64_t steps_done() const { return steps_; }
  int64_t tokens_seen() const { return tokens_; }
  // Of the whole run, as it will have been: steps, and sequences consumed.
  int64_t total_steps() const;
  int64_t total_samples() const;
  const Timeline& timeline() const { return timeline_; }
  int64_t num_parameters() const { return tessera::num_parameters(recipe_.model); }
  const ParameterStore& parameters() const { return step_.store(); }
  const Recipe& recipe() const { return recipe_; }
  Stage& stage() { return step_.stage(); }
  Stream& stream() { return step_.stream(); }
  Routing* routing() { return step_.routing(); }

 private:
  struct Started {  // a step whose numbers the host has not read
    StepReport report;
    int place = 0;  // of its numbers (StepNumbers)
    std::chrono::steady_clock::time_point start;
  };
  struct EvalCounts {
    int64_t targets = 0;
    int64_t bytes = 0;
  };
  std::vector<Micro> evaluation_part(const EvalWindows& windows, int64_t begin, int64_t end,
                                     EvalCounts& counts);
  Started start_step(const StepWishes& wishes);
  std::vector<double> choices(Reached now) const;
  StepReport finish_step(Started started);
  Reached reached() const;
  Batch next_batch();
  StepInputs inputs_of(const Batch& batch, const Reached& now, const StepWishes& wishes);
  void report_experts(const Tensor& counts, const Tensor& loss_words, StepReport& report);
  bool moves_experts_after(int64_t step) const;
  std::string name_overflow(const StepNumbers::Values& numbers);

  Recipe recipe_;
  Timeline timeline_;
  LearningRate learning_rate_;
  const Communicators& comms_;
  Step step_;
  LossScaler scaler_;
  std::unique_ptr<Loader> loader_;
  std::vector<int64_t> token_bytes_;  // bytes each token stands for; empty: unknown
  int64_t steps_ = 0;
  int64_t updates_ = 0;
  int64_t tokens_ = 0;
  std::optional<Started> unsettled_;
  std::chrono::steady_clock::time_point last_settled_{};
};

}  // namespace tessera
