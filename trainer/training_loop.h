// SPDX-License-Identifier: Apache-2.0
// A run from its first step to its last: when to evaluate, when to save, when to stop. Called by
// all ranks together; observers are called on rank 0.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "checkpoint/storage.h"
#include "trainer/observer.h"

namespace tessera {

struct LoopOptions {
  std::string checkpoints;  // directory of step-NNNNNNNN directories
  std::string run_id;
  std::string resolved_recipe;        // YAML, stored in every checkpoint
  std::vector<int64_t> pinned_steps;  // never deleted by retention, e.g. the one resumed from
  int64_t stop_after = 0;             // end (and save) after this step; 0: the run's last
  std::function<bool()> stop_requested = [] { return false; };  // a signal arrived on this rank
  std::vector<Observer*> observers;
  std::string trace_file;  // of profile.steps
};

enum class Outcome { done, stopped, preempted };

// Throws Error{storage} when checkpoint.max_failures saves in a row failed, Error{numeric} when the
// run diverged.
Outcome run_training(Trainer& trainer, const Communicators& comms, Storage& storage,
                     const LoopOptions& options);

}  // namespace tessera
