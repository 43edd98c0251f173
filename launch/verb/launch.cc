// SPDX-License-Identifier: Apache-2.0
// `tessera launch`: starts `tessera train` with several ranks on this machine.
#include <cstdio>

#include "kernels/base/log.h"
#include "launch/job/local_job.h"
#include "launch/recipe/reader.h"
#include "launch/verb/verbs.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

std::string layout_of(const ParallelOptions& parallel) {
  return "data " + (parallel.data > 0 ? std::to_string(parallel.data) : "auto") + " x tensor " +
         std::to_string(parallel.tensor) + " x pipeline " + std::to_string(parallel.pipeline);
}

std::vector<std::string> train_words(const TrainCommand& train) {
  std::vector<std::string> words = {this_program(), "train", train.recipe};
  words.insert(words.end(), train.overrides.begin(), train.overrides.end());
  const auto add = [&](const char* flag, const std::string& value) {
    if (!value.empty()) words.insert(words.end(), {flag, value});
  };
  add("--resume", train.resume == TrainCommand().resume ? "" : train.resume);
  add("--init-from", train.init_from);
  add("--run-dir", train.run_dir);
  add("--steps", train.stop_after > 0 ? std::to_string(train.stop_after) : "");
  add("--allow-changed", train.allow_changed);
  if (train.take_over) words.emplace_back("--take-over");
  if (train.check_only) words.emplace_back("--check");
  if (train.verbosity != 0) words.emplace_back(train.verbosity > 0 ? "--verbose" : "--quiet");
  return words;
}

}  // namespace

int launch_verb(const LaunchCommand& command) {
  const TrainCommand& train = command.train;
  int ranks = command.ranks.value_or(0);
  if (!command.ranks) {
    const ParallelOptions parallel = load_recipe(train.recipe, train.overrides, 0).recipe.parallel;
    ranks = ranks_of(parallel);
    log::info("launch   " + std::to_string(ranks) + (ranks > 1 ? " ranks" : " rank") +
              " for the recipe's layout " + layout_of(parallel) + "; -n N for more");
  }
  const LocalCommand local = local_command(this_machine(), ranks, train_words(train));
  load_recipe(train.recipe, train.overrides, ranks);  // says what is wrong once, and at once
  if (command.dry_run) {
    std::printf("%s\n", local.to_shell_line().c_str());
    return 0;
  }
  if (train.verbosity >= 0)
    log::info("launch   local: " + local.to_string() + "   (" + local.note + ")");
  return run_local(local, OnStop::save);
}

}  // namespace tessera
