// SPDX-License-Identifier: Apache-2.0
// A training run as the command line asks for it: `tessera train` does it, `tessera launch` passes
// it on to every rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

struct TrainCommand {
  std::string recipe;
  std::vector<std::string> overrides;
  std::string resume = "auto";  // auto | none | PATH
  std::string init_from;
  std::string run_dir;  // "" = runs/NAME
  bool check_only = false;
  bool take_over = false;     // the directories are taken although another job seems to hold them
  std::string allow_changed;  // a list of what may differ from the checkpoint (made_with.h)
  int64_t stop_after = 0;     // step at which this job ends, the schedule unchanged; 0: run.steps
  int verbosity = 0;          // -q: -1, -v: 1
};

}  // namespace tessera
