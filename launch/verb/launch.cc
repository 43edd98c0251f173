// SPDX-License-Identifier: Apache-2.0
// `tessera launch`: starts `tessera train` with several ranks on this machine.
#include <cstdio>
#include <memory>
#include <optional>

#include "kernels/base/log.h"
#include "launch/job/local_job.h"
#include "launch/recipe/reader.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/train_flags.h"
#include "launch/verb/verbs.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

struct LaunchCommand {
  TrainCommand train;        // what each rank is to do
  std::optional<int> ranks;  // absent: as many as the recipe's layout names
  bool dry_run = false;      // print the command line only
};

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

int run_launch(const LaunchCommand& command) {
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

}  // namespace

Verb launch_verb() {
  const auto c = std::make_shared<LaunchCommand>();
  Verb verb{.name = "launch",
            .help = "train a recipe on several ranks of this machine",
            .flags = train_flags(c->train),
            .run = [c] { return run_launch(*c); },
            .holds_stop_signals = true};
  verb.flags.push_back(
      {"-n,--ranks", &c->ranks, "default: what the recipe's layout needs", Whole{1, kMostRanks}});
  verb.flags.push_back({"--dry-run", &c->dry_run, "print the command line, start nothing"});
  return verb;
}

}  // namespace tessera
