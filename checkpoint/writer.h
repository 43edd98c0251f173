// SPDX-License-Identifier: Apache-2.0
// Saving: every rank writes the boxes it owns into its own shard file, all at the same time; then
// the checkpoint becomes visible at one instant. Order of events (docs/formats/checkpoint.md):
//
//   .tmp-step-N.<id>/ made -> all elements covered exactly once? -> shard files made, their room
//   reserved -> AGREE -> data, index, fsync -> AGREE -> manifest, fsync -> rename to step-N ->
//   COMMIT, fsync, rename -> AGREE
//
// First of all the remains of saves that died are swept, so one run at a time may save in a `root`
// (lease.h). A full disk is found at the first agreement, before any byte of data. A step that this
// generation saved already is replaced at the rename (it is lost if the power fails in the moment
// before COMMIT); another's is set aside.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "checkpoint/state.h"
#include "checkpoint/storage.h"
#include "parallel/communicator.h"

namespace tessera {

struct SaveInfo {
  std::string run_id;  // of the run, the same for all its steps
  int64_t step = 0;
  std::string layout;  // for people: "data 2 x tensor 1 x pipeline 1"
  std::string recipe;  // resolved YAML text, stored in the checkpoint
  // The lease on `root` (lease.h) gives its generation, the step that its job went on from, and its
  // check_held(), which is asked before the checkpoint becomes visible. Left out where there is
  // none.
  int64_t generation = 0;
  int64_t base = -1;
  std::function<void()> still_held = {};
  bool finite =
      false;  // refuse what is not finite: Error{numeric}, naming the first tensor and rank
};

struct SaveReport {
  int64_t bytes = 0;      // of all ranks' shard files
  double seconds = 0;     // until durable
  std::string directory;  // root/step-NNNNNNNN
};

// Collective over `world`. When it returns, the checkpoint is durable and complete on all ranks.
// A failure on any rank throws the same Error on every rank: storage when the file system is to
// blame, numeric when SaveInfo::finite finds an infinity or NaN, busy when another job has taken
// over `root`, internal when the State is (a tensor with a hole, with two owners, or scalars that
// differ between ranks). The temporary directory is then removed as far as the storage still
// allows, and older checkpoints are as they were.
SaveReport save_checkpoint(Storage& storage, Communicator& world, const std::string& root,
                           const SaveInfo& info, const State& state);

}  // namespace tessera
