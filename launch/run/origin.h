// SPDX-License-Identifier: Apache-2.0
// Where a training run begins: from fresh weights, from the weights of another model, or from a
// checkpoint that it goes on from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/run/train_job.h"
#include "trainer/trainer.h"

namespace tessera {

struct Origin {
  std::string words;             // for the line "start"
  std::string run_id;            // of the run that goes on, on rank 0; empty: a new one
  std::string changed;           // what differs from the checkpoint, in one line; empty: nothing
  std::vector<int64_t> pinned;   // steps that retention leaves alone
  std::vector<int64_t> damaged;  // steps of this directory that were passed over, on rank 0
  int64_t base = -1;  // the step in the directory of checkpoints that this job goes on from
};

// Collective. Loads weights or the whole state into the trainer, as the command line asks, and adds
// to job.warnings. A checkpoint of another function or of other data is refused before anything of
// it is loaded.
Origin restore(TrainJob& job, Trainer& trainer);

}  // namespace tessera
