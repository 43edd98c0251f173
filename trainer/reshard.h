// SPDX-License-Identifier: Apache-2.0
// A checkpoint rewritten for other ranks, by one process: the files that the ranks of another
// layout would have written, so that each of them later reads its own. One rank's part is in memory
// at a time, and of the old files only the bytes of that part are read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "checkpoint/lease.h"
#include "checkpoint/reader.h"
#include "trainer/recipe.h"

namespace tessera {

struct ReshardOptions {
  std::string root;              // directory of steps to write into
  int num_ranks = 1;             // of the new layout
  std::string recipe;            // text to store in the checkpoint
  const Lease* lease = nullptr;  // on root, while this writes there
};

struct ReshardReport {
  std::string directory;      // root/step-NNNNNNNN
  std::string layout;         // "data 2 x tensor 1 x pipeline 1"
  int64_t bytes = 0;          // of the new shard files
  int64_t bytes_read = 0;     // of the old ones
  int64_t largest_shard = 0;  // most bytes of tensors in memory at a time
};

// `recipe`: of the same model, valid on num_ranks; its layout is the new one. Tensors and scalars
// are those of `from`, bit for bit. `progress` hears how many bytes of tensors are done.
// Throws Error{usage} when root holds the step already or when the recipe's model is another than
// the checkpoint's, checkpoint when that is damaged, storage; nothing is left behind then.
ReshardReport reshard(
    Storage& storage, CheckpointReader& from, const Recipe& recipe, const ReshardOptions& options,
    const std::function<void(int64_t)>& progress = [](int64_t) {});

}  // namespace tessera
