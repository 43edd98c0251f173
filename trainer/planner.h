// SPDX-License-Identifier: Apache-2.0
// What a recipe needs on a number of ranks, found out by doing it: any rank of the job runs one
// training step (step.h) as it stands, on the dry device and with dry-run
// communicators, in this process and in a fraction of a second. Shapes, cuts and messages are
// checked on the way as on the real thing; nothing is allocated, computed or sent.
//
// A rank needs memory.system_bytes: what its pool takes from the system, freed blocks that it keeps
// included. It is within 5 % of what the operating system then counts
// (tests/trainer/planner_ranks_test.cc); with run.device=cuda the memory is a GPU's, what recorded
// passes keep for themselves included (tests/trainer/planner_gpu_test.cc). What the numbers leave
// out: buffers of a transport (class communication), workspaces of a GPU's kernels, how long a send
// keeps its tensor (here it leaves at once), and evaluations. One DryJob at a time plays in a
// process.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicators.h"
#include "parallel/pipeline/simulate.h"
#include "trainer/recipe.h"
#include "trainer/step.h"

namespace tessera {

struct PlayedRank {
  int rank = 0;            // in the job
  int coordinate = 0;      // on the pipeline axis
  int64_t layers = 0;      // transformer blocks
  int64_t parameters = 0;  // that it computes with
  MemoryUse memory{};      // peaks of a step; the weights and optimizer state are there throughout
  DryCalls calls{};        // of the step, in their order
};

class DryJob {
 public:
  // sequences: of the step that is played, one of the sizes of the recipe's Timeline; 0: the
  // largest. REQUIRES that validate(recipe, num_ranks) finds nothing.
  DryJob(const Recipe& recipe, int num_ranks, int64_t sequences = 0);

  const Recipe& recipe() const { return recipe_; }
  const ProcessGrid& grid() const { return grid_; }
  const Plan& plan() const { return plans_.at(num_micro_); }
  int64_t sequences() const { return sequences_; }

  PlayedRank play(int rank) const;
  // One rank of each pipeline coordinate, the first of its data and tensor groups: where rows do
  // not divide evenly, the one with the most. Another data rank may own a small matrix more under
  // ZeRO (model/parameter.h).
  std::vector<int> typical_ranks() const;
  // The plan on a clock that counts multiplications (stage_times); messages take no time.
  Simulation simulate() const;

 private:
  StepInputs inputs_of_a_step(const Step& step) const;

  Recipe recipe_;
  ProcessGrid grid_;
  int64_t sequences_;
  int num_micro_ = 1;
  std::map<int, Plan> plans_;  // by number of microbatches; at least that of num_micro_
  std::vector<int64_t> layers_per_stage_;
};

// Multiply-adds per token of each stage's forward, B and W, the layers that recompute included. The
// head makes its gradients in its forward pass (model/loss_head.h).
std::vector<StageTimes> stage_times(const Recipe& recipe, const Plan& plan);

// Calls of one kind together. Groups of one are left out.
struct Traffic {
  std::string group;
  int ranks = 0;  // of the group; of messages: 2
  std::string operation;
  std::string tag;
  int64_t calls = 0;
  int64_t bytes = 0;  // of the whole tensors
  int64_t sent = 0;   // by this rank at least: over a ring; of all-to-all: to the others
};
std::vector<Traffic> traffic(const DryCalls& calls);

// Bytes of the tensors of a checkpoint: masters and the optimizer's state.
int64_t checkpoint_bytes(const Recipe& recipe);

// The steps of a run that can need the most, from the first to the largest: those two, and the
// largest of each schedule that a ramp passes through. One where all steps are alike.
std::vector<DryJob> dry_jobs(const Recipe& recipe, int num_ranks);

// The peak of the rank that needs the most, of those that are typical.
struct Need {
  int rank = 0;
  MemoryUse memory;
};
Need largest_need(const DryJob& job);

// One change of the recipe, and what the largest need is then.
struct Change {
  std::string keys;  // "parallel.zero=1"
  Need need;
};
// The change that costs the least speed of those after which every rank fits into `capacity`
// bytes: shards by ZeRO, recomputes, halves the microbatch, doubles the tensor or the pipeline
// axis on as many ranks; then two of these. Nothing when none helps.
std::optional<Change> cheapest_change(const Recipe& recipe, int num_ranks, int64_t capacity);

}  // namespace tessera
