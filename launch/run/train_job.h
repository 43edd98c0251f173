// SPDX-License-Identifier: Apache-2.0
// All that a training run knows before its first step: what was asked, on which ranks and device,
// with which data. Making one refuses whatever can be refused before the run directory is touched,
// so that a run that does not begin leaves what was there as it was.
#pragma once

#include <string>
#include <vector>

#include "checkpoint/storage.h"
#include "launch/recipe/reader.h"
#include "launch/run/directory.h"
#include "launch/run/made_on.h"
#include "launch/run/made_with.h"
#include "launch/run/memory_fit.h"
#include "launch/run/preflight.h"
#include "launch/run/train_command.h"
#include "parallel/communicators.h"
#include "parallel/transport/gpu_groups.h"
#include "parallel/world.h"

namespace tessera {

struct TrainJob {
  // Collective: what any rank finds wrong, all throw.
  TrainJob(const TrainCommand& command, World& world);

  bool leads() const { return world.rank() == 0; }

  const TrainCommand& command;
  World& world;
  LoadedRecipe loaded;
  const Recipe& recipe;
  PosixStorage storage;
  DataSummary data;
  std::string resume_from, init_from;  // checkpoints asked for; empty: none
  RankFit fit;
  MadeWith made;
  std::vector<std::string> warnings;  // told when the log file is open
  RunDirectory directory;
  Device device;  // preflight() fills it, and the members from `data` on
  GpuGroups gpu_groups;
  Communicators comms;
  MadeOn machine;
  std::string resolved;  // the text of recipe.resolved.yaml

 private:
  Device preflight();
  void look_at_files();
  void look_at_checkpoints();
  std::vector<std::string> header() const;
};

}  // namespace tessera
