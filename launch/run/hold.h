// SPDX-License-Identifier: Apache-2.0
// A training job holds its run directory and its directory of checkpoints while it runs, both by a
// lease (checkpoint/lease.h). Rank 0 has it; on the other ranks nothing is held.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/lease.h"
#include "launch/run/directory.h"

namespace tessera {

struct HoldOptions {
  bool fresh = false;  // --resume none: an earlier run is renamed, its checkpoints do not count
  bool expects_own = false;  // --resume auto: a run that has saved must find its checkpoints
  bool take_over = false;
};

class RunHold {
 public:
  RunHold() = default;  // nothing
  // Takes both directories before anything in them is touched, and makes what is missing.
  // `checkpoints` is run.checkpoints(recipe). Error{busy} names the job that holds one; storage;
  // checkpoint as refuse_vanished().
  static RunHold take(Storage& storage, const RunDirectory& run, const std::string& checkpoints,
                      const HoldOptions& options);

  bool holds() const { return run_ != nullptr; }
  const std::string& moved_to() const { return moved_to_; }  // the earlier run; empty: none
  int64_t generation() const { return steps().generation(); }
  void check_held() const;
  bool lost() const { return run_ && (run_->lost() || steps().lost()); }
  void saved(int64_t step) const;
  // The job goes on from this step of `checkpoints` (-1: from none): whatever else is there moves
  // to quarantine, remains are swept. One line for each directory that moved, with its bytes, and
  // one for the whole quarantine when it holds anything.
  std::vector<std::string> settle_line(Storage& storage, int64_t base,
                                       const std::vector<int64_t>& damaged) const;

 private:
  Lease& steps() const { return checkpoints_ ? *checkpoints_ : *run_; }

  std::unique_ptr<Lease> run_, checkpoints_;  // the second is null when both are one directory
  std::string moved_to_;
};

// Error{checkpoint} when the run has saved before but `checkpoints` holds no step at all: it is not
// mounted, or it is another one. That must not become a run that starts from nothing.
void refuse_vanished(Storage& storage, const RunDirectory& run, const std::string& checkpoints);

}  // namespace tessera
