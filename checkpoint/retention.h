// SPDX-License-Identifier: Apache-2.0
// Lists the checkpoints of the line (line.h), chooses the one to resume from, and deletes old ones.
// Called by one rank, which holds the lease of `root` (lease.h) for whatever writes; no save is in
// flight meanwhile.
//
// Deleting renames first, so that nobody takes the directory for a checkpoint any more; then COMMIT
// goes, durably, before any other byte. A crash at any moment leaves a complete
// checkpoint or none. Only files that a checkpoint has are deleted, and no link is followed.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/line.h"
#include "checkpoint/storage.h"

namespace tessera {

struct Keep {
  int64_t last = 3;                  // the newest so many of the line; at least 1
  int64_t every = 0;                 // and every step that this divides, for ever; 0: none
  std::vector<int64_t> pinned = {};  // and these: the one just saved, the one resumed from
  bool read_indexes = false;         // only those count whose indexes and file sizes are right, too
};

// Steps of the line whose COMMIT matches their manifest (a quick look: two small files each),
// increasing. Empty when `root` does not exist.
std::vector<int64_t> committed_steps(Storage& storage, const std::string& root);

struct PassedOver {
  int64_t step;
  std::string reason;  // a sentence with the path: "…/step-00000400 is incomplete: no COMMIT …"
  std::string word;    // "damaged", "abandoned" ...: as in quarantine_reason()
};

struct NewestCheckpoint {
  std::optional<int64_t> step;          // nullopt: none is valid
  std::string directory;                // of that step
  std::vector<PassedOver> passed_over;  // newer ones that are damaged or left behind, newest first
};

struct SearchOptions {
  int64_t before = std::numeric_limits<int64_t>::max();  // only steps below this one
  bool verify_data = false;  // read every byte; else COMMIT, manifest, indexes and file sizes
};

// The newest step of the line that verifies. Never throws for damage: that is what passed_over is
// for. Error{checkpoint} when the newest of the line was written by a newer Tessera: going on from
// an older one would be a step back that nobody asked for. Error{storage} when something cannot be
// read now, after three tries.
NewestCheckpoint newest_valid(Storage& storage, const std::string& root,
                              const SearchOptions& options = {});

struct RetentionReport {
  std::vector<int64_t> deleted;        // steps
  std::vector<Quarantined> set_aside;  // what another job of an older generation saved meanwhile
  int swept = 0;                       // dead temporary, incomplete and trash directories
};

// Deletes steps of the line that `keep` does not name, incomplete ones older than its newest, and
// what dead saves and deletions left behind. What is not of the line neither counts nor is deleted:
// a complete one is set aside (line.h), a damaged one is left for a person to look at.
// generation: of the lease that the caller holds; 0: none is held by anybody. Error{storage} for
// the first that could not be deleted, after all others were.
RetentionReport apply_retention(Storage& storage, const std::string& root, const Keep& keep,
                                int64_t generation = 0);

// Makes room on a full disk: deletes what is damaged in the quarantine or, when there is nothing,
// the oldest step of the line, but never the newest or what `keep` names by number. The bytes that
// were freed; 0: nothing could go.
int64_t make_room(Storage& storage, const std::string& root, const Keep& keep);

// Removes the directories of saves and deletions that died, by their exact names; how many. Those
// of a generation above the caller's belong to a living job. Never throws: one that cannot be
// removed is a warning in the log. A save does this first, so that a disk filled by them does not
// stay full.
int sweep_remains(Storage& storage, const std::string& root, int64_t generation = 0);

// One directory in `root`, step-NNNNNNNN. Error{storage} when it holds a file that no checkpoint
// has; then nothing is touched.
void delete_checkpoint(Storage& storage, const std::string& root, const std::string& name);
// The first half: after it the name is free, and nothing looks like a checkpoint. The new name.
std::string retire_checkpoint(Storage& storage, const std::string& root, const std::string& name);

}  // namespace tessera
