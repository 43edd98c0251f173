// SPDX-License-Identifier: Apache-2.0
// One training step of one rank: everything that a step works with, wired together, and the events
// of the step in the one order that they have (step() in step.cc). Three drive it: Trainer, which
// decides what a step is given and reports what came of it; DryJob, which plays it on a device
// without memory; `tessera bench step`, which puts a clock around the events.
//
// All ranks call the same member functions in the same order, each from one thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "parallel/communicators.h"
#include "trainer/model/build.h"
#include "trainer/model/micro_graphs.h"
#include "trainer/model/routing.h"
#include "trainer/optim/optimizer.h"
#include "trainer/recipe.h"
#include "trainer/step_numbers.h"

namespace tessera {

// Wishes of one rank; what any rank wishes, all do, at the same step. Decisions by clock or signal
// travel this way (docs/numerics.md).
struct StepWishes {
  bool save = false;  // write a checkpoint after this step
  bool stop = false;  // end the run after this step (preemption)
};

// The host knows this of a step before it is queued.
struct StepInputs {
  std::vector<Micro> micros{};  // of this rank; the step adds scales and weights to them
  int64_t number = 1;           // of the step in the run, from 1
  int64_t sequences = 0;        // of the step, over all data ranks
  int64_t targets = 0;          // target tokens of this rank's microbatches
  double mtp_loss_weight = 0;   // of multi-token prediction
  int64_t updates_known = 0;    // updates that are known to be applied before this step
  std::vector<double> choices;  // rows of step_controls(), from updates_known on
  LossScaleRules loss_scale{};
  bool moves_router_biases = false;  // the bias of each expert follows this step's loads
  StepWishes wishes{};
};

enum class StepEvent {
  zero_gradients,     // gradients hold nothing
  give_microbatches,  // layers see the microbatches and what a loss of theirs weighs
  passes,             // forward and backward passes, as the plan orders them
  sum_gradients,      // over data ranks, both ends of the pipeline, and replicas
  measure,            // the statistics of all ranks in one reduction; what the optimizer is told
  balance_experts,    // loads of experts over all ranks; their biases follow
  send_numbers,       // the step's numbers start on their way to the host
  update_weights,     // the optimizer reads gradients and writes weights
  share_weights,      // rows that other data ranks have updated
};

// A driver may put something around the events of a step, a clock for example; this adds nothing.
class StepProbe {
 public:
  virtual ~StepProbe() = default;
  // Called for each event in order; calls `work` exactly once.
  virtual void around(StepEvent /*event*/, const std::function<void()>& work) { work(); }
  // Returns what the plan drives in the place of `own`, which outlives the step.
  virtual PipelineStage& passes(PipelineStage& own) { return own; }
};

class Step {
 public:
  // Builds this rank's layers and lays out their parameters, whose values are not set yet.
  // plans: by number of microbatches, one for each that step() will be given; all place the stages
  // alike. The recipe is valid for the grid of `comms`, which outlives the Step.
  Step(const Recipe& recipe, Device device, const Communicators& comms, std::map<int, Plan> plans);

  // Draws initial weights by recipe.run.seed and lets the device know the updates and the loss
  // scale from which the run goes on.
  void initialize(const LossScaleState& scale);

  // Queues the step and returns where its numbers arrive (StepNumbers::read).
  int step(StepInputs inputs, StepProbe& probe);
  int step(StepInputs inputs);

  // A token's share in the gradient: 1 / 2^k, so that scaling a gradient by it is exact in every
  // type. The optimizer corrects it to 1 / target tokens (docs/numerics.md).
  double token_gradient() const { return 1 / normalizer_; }

  const Recipe& recipe() const { return recipe_; }
  const Communicators& comms() const { return comms_; }
  const std::map<int, Plan>& plans() const { return plans_; }
  Stream& stream() { return stream_; }
  ParameterStore& store() { return store_; }
  const ParameterStore& store() const { return store_; }
  Stage& stage() { return *stage_; }
  Routing* routing() const { return routing_.get(); }  // null: the model has no experts
  Gradients& gradients() { return *gradients_; }
  const Optimizer& optimizer() const { return *optimizer_; }
  StepNumbers& numbers() { return *numbers_; }
  // Plans drive this: the stage, or the graphs that record its passes.
  PipelineStage& passes();
  bool records_passes() const { return graphs_ != nullptr; }
  // Whether the device need not wait for the host, which may read a step's numbers while the next
  // step runs.
  bool reports_late() const { return !stream_.device().is_host(); }

  // These go to the host with the numbers, in this order (StepNumbers::Values::more).
  enum More : size_t { kOverflows, kExpertCounts, kBalanceLosses };

 private:
  void give(StepInputs& inputs);
  void run_passes(StepProbe& probe);
  void measure(const StepInputs& inputs);
  void balance_experts(bool moves_biases);
  bool has_balance_losses() const;

  Recipe recipe_;
  const Communicators& comms_;
  std::map<int, Plan> plans_;
  double normalizer_;
  Stream stream_;
  ParameterStore store_;
  std::unique_ptr<Routing> routing_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<MicroGraphs> graphs_;  // null: every kernel is queued by itself
  std::unique_ptr<Gradients> gradients_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<StepNumbers> numbers_;
};

}  // namespace tessera
