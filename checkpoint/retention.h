// SPDX-License-Identifier: Apache-2.0
// Which checkpoints there are, which one to resume from, and which to delete. Called by one rank.
//
// Deleting unmarks first: COMMIT is removed and that is made durable before any other byte goes, so
// a crash at any moment leaves a complete checkpoint or one that nobody takes for a checkpoint.
// One run per `root` directory, no save in flight during apply_retention().
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/storage.h"

namespace tessera {

struct Keep {
  int last = 3;                      // the newest so many; at least 1
  int64_t every = 0;                 // and every step that this divides, for ever; 0: none
  std::vector<int64_t> pinned = {};  // and these, e.g. the one that this run was resumed from
};

// Steps whose COMMIT matches their manifest (a quick look: two small files each), increasing.
// Empty when `root` does not exist.
std::vector<int64_t> committed_steps(Storage& storage, const std::string& root);

struct PassedOver {
  int64_t step;
  std::string reason;  // a sentence with the path: "…/step-00000400 is incomplete: no COMMIT …"
};

struct NewestCheckpoint {
  std::optional<int64_t> step;          // nullopt: none is valid
  std::string directory;                // of that step
  std::vector<PassedOver> passed_over;  // newer ones that are not valid, newest first
};

struct SearchOptions {
  int64_t before = std::numeric_limits<int64_t>::max();  // only steps below this one
  bool verify_data = false;  // read every byte; else COMMIT, manifest, indexes and file sizes
};

// The newest step that verifies. Never throws for damage: that is what passed_over is for.
NewestCheckpoint newest_valid(Storage& storage, const std::string& root,
                              const SearchOptions& options = {});

struct RetentionReport {
  std::vector<int64_t> deleted;  // steps
  int swept = 0;                 // dead temporary, incomplete and trash directories
};

// Deletes committed steps that `keep` does not name, incomplete ones older than the newest
// committed, and what dead saves and deletions left behind. A directory with a damaged COMMIT is
// left for a person to look at.
RetentionReport apply_retention(Storage& storage, const std::string& root, const Keep& keep);

// Removes the .tmp-* and .trash-* directories of saves and deletions that died; how many. Never
// throws: one that cannot be removed is a warning in the log. A save does this first, so that a
// disk filled by them does not stay full.
int sweep_remains(Storage& storage, const std::string& root);

// Unmarks, renames to .trash-*, deletes: one directory in `root`.
void delete_checkpoint(Storage& storage, const std::string& root, const std::string& name);
// The first half: after it the name is free, and nothing looks like a checkpoint. The new name.
std::string retire_checkpoint(Storage& storage, const std::string& root, const std::string& name);

}  // namespace tessera
