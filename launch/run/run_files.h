// SPDX-License-Identifier: Apache-2.0
// The directories and files of a training run on disk: when each is taken, made and written.
#pragma once

#include <cstdint>
#include <functional>

#include "launch/run/hold.h"
#include "launch/run/origin.h"
#include "launch/run/train_job.h"

namespace tessera {

// All functions that may fail are collective: rank 0's failure is everybody's. A check of a recipe
// (--check) leaves no trace.
class RunFiles {
 public:
  explicit RunFiles(TrainJob& job) : job_(job) {}

  // A checkpoint must not change under the job that resumes it, so a directory that is there is
  // held before that. A new one, and one whose earlier run is to be renamed, are touched only when
  // nothing can be refused any more: by take(). Rank 0 may have to watch the heartbeat of a job on
  // another machine for longer than a collective may take: the limit is that of the start.
  void take_what_is_there() {
    take_if([this] { return is_there_to_resume(); });
  }
  void take() {
    take_if([] { return true; });
  }

  // The resolved recipe, the logs, and notes of ranks that wait.
  void open();

  // From here on the directory of checkpoints holds the line that this job goes on with. Returns
  // the generation of this job's lease, the same on all ranks.
  int64_t settle_line(const Trainer& trainer, const Origin& origin);

  // Rank 0: a step is durable. The supervisor hears of the first.
  void saved(int64_t step);

  const RunHold& hold() const { return hold_; }

 private:
  void take_if(const std::function<bool()>& wanted);
  bool is_there_to_resume() const;

  TrainJob& job_;
  RunHold hold_;  // take_if() fills it, on rank 0
  bool saved_ = false;
};

}  // namespace tessera
