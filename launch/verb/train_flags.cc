// SPDX-License-Identifier: Apache-2.0
#include "launch/verb/train_flags.h"

#include "launch/verb/common_flags.h"

namespace tessera {

std::vector<Flag> train_flags(TrainCommand& command) {
  return {recipe_row(command.recipe),
          overrides_row(command.overrides),
          {"--resume",
           &command.resume,
           "auto | none | PATH of a checkpoint",
           {},
           {.shows_default = true}},
          {"--init-from", &command.init_from,
           "weights of this checkpoint or Hugging Face directory, fresh optimizer"},
          {"--run-dir", &command.run_dir, "where the run's files go (runs/NAME)"},
          {"--steps", &command.stop_after,
           "end after this step; the schedule stays that of run.steps", Whole{1}},
          {"--check", &command.check_only, "check everything, train nothing"},
          allow_changed_row(command.allow_changed),
          take_over_row(command.take_over),
          {"-q,--quiet", Sets{&command.verbosity, -1}, "warnings only"},
          {"-v,--verbose", Sets{&command.verbosity, 1}, "say more"}};
}

}  // namespace tessera
