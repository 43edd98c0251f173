// SPDX-License-Identifier: Apache-2.0
// The line of a run: the checkpoints in a directory that the run which trains there now stands on.
// A run goes back (to a milestone, over damage, or to nothing) and saves again; the newest
// checkpoint is then what its line saved last, and not the largest step. Every checkpoint tells the
// generation of the job that saved it and the step which that job went on from
// (checkpoint/manifest.h), and the lease tells it of a job that has not saved yet. A checkpoint is
// of the line unless a job of a newer generation went on from an earlier step. Checkpoints without
// a generation are the oldest.
//
// A checkpoint that is not of the line is never resumed from or replaced: it is moved to
// quarantine/ by a rename, which does not disturb a reader that has it open. Called by one rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/storage.h"

namespace tessera {

enum class StepStatus {
  complete,      // COMMIT matches the manifest (two small files are read, nothing else)
  incomplete,    // no COMMIT: a save that died after its rename
  damaged,       // COMMIT and manifest contradict each other
  newer_format,  // sound as far as can be told, but of a later Tessera
  misplaced      // a link, or the directory of another step under this name
};

struct StepDirectory {
  int64_t step = 0;
  std::string name;  // step-NNNNNNNN
  StepStatus status = StepStatus::complete;
  std::string reason;      // why it is not complete: a sentence with the path
  int64_t generation = 0;  // of a complete one and of a newer format
  int64_t base = -1;
  bool in_line = false;  // complete or of a newer format, and not left behind
};

// All step directories of `root` by increasing step; empty when it does not exist. Error{storage}
// when something cannot be read now: that is no damage.
std::vector<StepDirectory> survey(Storage& storage, const std::string& root);

// The word in the name of what goes to quarantine: "abandoned", "damaged", "incomplete",
// "newer-format", "misplaced".
std::string quarantine_reason(const StepDirectory& directory);

struct Quarantined {
  std::string from, to;  // paths
  int64_t bytes = 0;
};

// Moves root/name to root/quarantine/name.REASON, durably.
Quarantined quarantine(Storage& storage, const std::string& root, const std::string& name,
                       const std::string& reason);

// Makes `base` the newest step of `root`: what stands above it, what is of another line and what is
// damaged moves to quarantine. `damaged`: steps whose data were found to be damaged.
std::vector<Quarantined> set_line(Storage& storage, const std::string& root, int64_t base,
                                  const std::vector<int64_t>& damaged);

struct QuarantineContent {
  std::vector<std::string> names;  // sorted; only those that quarantine() made
  int64_t bytes = 0;
};
QuarantineContent quarantine_content(Storage& storage, const std::string& root);
// Deletes those whose name holds `reason` ("": all). The bytes that were freed.
int64_t empty_quarantine(Storage& storage, const std::string& root, const std::string& reason);

}  // namespace tessera
