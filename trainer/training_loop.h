// SPDX-License-Identifier: Apache-2.0
// A run from its first step to its last: when to evaluate, when to save, when to stop. Called by
// all ranks together; observers are called on rank 0.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/storage.h"
#include "trainer/observer.h"

namespace tessera {

struct LoopOptions {
  std::string checkpoints;  // directory of step-NNNNNNNN directories
  std::string run_id;
  std::string resolved_recipe;  // YAML, stored in every checkpoint
  // These scalars stand in every checkpoint beside the trainer's own. They are equal on all ranks.
  std::map<std::string, std::string> made_with;
  std::vector<int64_t> pinned_steps;  // never deleted by retention, e.g. the one resumed from
  // The lease on `checkpoints` (checkpoint/lease.h) gives its generation and the step there that
  // the run went on from, equal on all ranks, and on rank 0 its check_held(). Left out where there
  // is none.
  int64_t generation = 0;
  int64_t base = -1;
  std::function<void()> still_held = [] {};
  std::function<void(int64_t step)> on_saved = [](int64_t) {};  // rank 0: a step is durable
  int64_t stop_after = 0;  // end (and save) after this step; 0: the run's last
  std::function<bool()> stop_requested = [] { return false; };  // a signal arrived on this rank
  std::vector<Observer*> observers;
  std::string trace_file;  // of profile.steps
};

enum class Outcome { done, stopped, preempted };

// Nothing is saved or deleted while updates are skipped: a save that falls due waits for the next
// update. What is not finite is never saved. On a full disk room is made once (make_room in
// checkpoint/retention.h) and the save tried again.
//
// Throws Error{storage} when checkpoint.max_failures saves in a row failed, Error{numeric} when the
// run diverged, also when it ends before on_failure.max_skips steps were skipped, Error{busy} when
// another job has taken over the checkpoints.
Outcome run_training(Trainer& trainer, const Communicators& comms, Storage& storage,
                     const LoopOptions& options);

}  // namespace tessera
