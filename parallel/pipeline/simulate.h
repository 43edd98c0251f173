// SPDX-License-Identifier: Apache-2.0
// Runs a plan on a clock before a single kernel does: how long a step takes, how much of it each
// rank idles, how many microbatches each must remember. An action starts when its rank is free and
// its input has arrived; a message takes its time between ranks and none of theirs.
#pragma once

#include <vector>

#include "parallel/pipeline/schedule.h"

namespace tessera {

// Of one stage, in any unit. Where a backward runs in one piece, `backward_input` lasts for both
// halves and `backward_weight` is 0.
struct StageTimes {
  double forward = 1;
  double backward_input = 1;
  double backward_weight = 1;
  double message = 0;         // what the stage makes, on its way to another rank
  double gather_weights = 0;  // holds the rank up
};

struct TimedAction {
  int rank;
  Action action;
  double start;
  double end;
};

struct Simulation {
  double makespan = 0;               // all ranks start at 0; the last one ends here
  double longest_span = 0;           // over ranks, from the first action's start to the last's end
  std::vector<double> busy;          // by rank: computing
  std::vector<int> peak_live;        // by rank: microbatch-chunks between F and W (tapes)
  std::vector<int> peak_gathered;    // by rank: chunks whose whole weights are there at once
  std::vector<TimedAction> actions;  // ordered by end, then rank, then place in the rank's list

  // The share of the step that a rank, or all together, idle: what a step that ends with a decision
  // of all ranks loses. The zero-bubble papers let every rank step by itself and print
  // 1 - busy / longest_span.
  double bubble(int rank) const;
  double bubble() const;
};

// times: by stage. A plan without messages is simulated as if each tensor left when it is made; one
// with messages sends where it says so. Throws Error{internal} naming who waits when the plan does
// not come to its end (check_plan says more).
Simulation simulate(const Plan& plan, const std::vector<StageTimes>& times);
Simulation simulate(const Plan& plan, const StageTimes& times = {});  // every stage alike

}  // namespace tessera
