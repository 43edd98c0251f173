// SPDX-License-Identifier: Apache-2.0
#include "trainer/batch_rules.h"

#include <bit>

#include "trainer/schedule_rules.h"
#include "trainer/size_rules.h"
#include "trainer/timeline.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

std::string text(int64_t value) {
  return std::to_string(value);
}

// What the pipeline axis asks: enough layers, and as many microbatches as the schedule allows.
void check_pipeline(const Recipe& recipe, int64_t num_micro, Problems& problems) {
  try {
    const Plan plan = compute_plan(recipe.parallel, static_cast<int>(num_micro));
    deal_layers(recipe, plan.num_stages());
    problems.require(!recipe.parallel.layers_per_stage.empty() || plan.num_stages() == 1 ||
                         recipe.model.num_hidden_layers >= plan.num_stages(),
                     "parallel.pipeline",
                     std::to_string(plan.num_stages()) + " stages for " +
                         std::to_string(recipe.model.num_hidden_layers) +
                         " layers; give parallel.layers_per_stage to leave some without",
                     ErrorKind::capacity);
  } catch (const Error& error) {
    const bool layers = error.kind() == ErrorKind::capacity;
    problems.require(false, layers ? "parallel.layers_per_stage" : "parallel.schedule",
                     error.what(), ErrorKind::capacity);
  }
}

class BatchRules {
 public:
  BatchRules(const Recipe& recipe, int64_t data, Problems& problems)
      : recipe_(recipe), data_(data), round_(recipe.batch.micro * data), problems_(problems) {}

  void check_one_size() {
    const int64_t global = recipe_.batch.global;
    const bool whole = cut(global, "batch.global");
    check_tree(std::max<int64_t>(1, global / round_));
    if (whole) check_pipeline(recipe_, global / round_, problems_);
  }

  // The sizes below the last. That they are legal follows from the first and the increment where
  // microbatches are concerned, and is looked up one by one where the schedule is.
  void check_ramp() {
    const BatchRamp& ramp = recipe_.batch.ramp;
    const bool whole =
        cut(ramp.from, "batch.ramp.from") && cut(ramp.increment, "batch.ramp.increment");
    if (!whole || !check_placement()) return;
    for (const int64_t sequences : Timeline(recipe_).batch_sizes()) {
      const size_t before = problems_.found.size();
      if (sequences == recipe_.batch.global) break;
      check_tree(sequences / round_);
      check_schedule(sequences);
      if (problems_.found.size() > before) return;  // the next ones would say the same
    }
  }

 private:
  bool cut(int64_t sequences, const std::string& key) {
    const int64_t below = sequences / round_ * round_;
    problems_.require(below == sequences, key,
                      text(sequences) + " sequences cannot be cut into microbatches of " +
                          text(recipe_.batch.micro) + " on " + text(data_) +
                          " data rank(s); nearest legal: " + text(std::max(round_, below)) +
                          " or " + text(below + round_),
                      ErrorKind::capacity);
    const bool planned = sequences / round_ <= kMostMicrobatches;
    problems_.require(planned, key,
                      text(sequences / round_) + " microbatches a step, at most " +
                          text(kMostMicrobatches) + " are planned: raise batch.micro",
                      ErrorKind::capacity);
    return below == sequences && planned;
  }

  void check_tree(int64_t num_micro) {
    problems_.require(recipe_.run.determinism != Determinism::layout_free ||
                          (std::has_single_bit(static_cast<uint64_t>(data_)) &&
                           std::has_single_bit(static_cast<uint64_t>(num_micro))),
                      "run.determinism",
                      "layout_free wants powers of two: " + text(data_) + " data rank(s) with " +
                          text(num_micro) + " microbatches each",
                      ErrorKind::capacity);
  }

  void check_schedule(int64_t sequences) {
    const int64_t num_micro = sequences / round_;
    try {
      compute_plan(layout_of_step(recipe_, static_cast<int>(num_micro)),
                   static_cast<int>(num_micro));
    } catch (const Error& error) {
      problems_.require(false, "batch.ramp.from",
                        "a step of " + text(sequences) + " sequences has " + text(num_micro) +
                            " microbatches a pipeline: " + error.what() + " (each is " +
                            text(round_) + " sequences over the data ranks)" +
                            (recipe_.batch.ramp.schedule.empty()
                                 ? "; or name a batch.ramp.schedule for such steps"
                                 : ""),
                        ErrorKind::capacity);
    }
  }

  // Weights stay where they are when the schedule changes.
  bool check_placement() {
    ParallelOptions other = recipe_.parallel;
    other.schedule = recipe_.batch.ramp.schedule;
    if (other.schedule.empty()) return true;
    const int most = static_cast<int>(recipe_.batch.global / round_);
    try {
      const bool same = compute_plan(other, most).stage_of_chunk ==
                        compute_plan(recipe_.parallel, most).stage_of_chunk;
      problems_.require(
          same, "batch.ramp.schedule",
          other.schedule + " deals the layers to other ranks than " + recipe_.parallel.schedule,
          ErrorKind::capacity);
      return same;
    } catch (const Error& error) {
      problems_.require(false, "batch.ramp.schedule", error.what(), ErrorKind::capacity);
      return false;
    }
  }

  const Recipe& recipe_;
  int64_t data_;
  int64_t round_;  // sequences of one microbatch on every data rank
  Problems& problems_;
};

}  // namespace

void check_batches(const Recipe& recipe, int64_t data, Problems& problems) {
  BatchRules rules(recipe, data, problems);
  const size_t before = problems.found.size();
  rules.check_one_size();
  Problems of_ramp;  // told by check_schedules()
  if (problems.found.size() == before && check_ramp(recipe.batch, of_ramp)) rules.check_ramp();
}

}  // namespace tessera
