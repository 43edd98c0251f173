// SPDX-License-Identifier: Apache-2.0
// `tessera train`: joins the job it was started in, checks everything, then runs the loop.
#include <chrono>
#include <memory>
#include <thread>

#include "checkpoint/layout.h"
#include "checkpoint/retention.h"
#include "kernels/base/log.h"
#include "launch/job/in_world.h"
#include "launch/job/signals.h"
#include "launch/run/opening_lines.h"
#include "launch/run/origin.h"
#include "launch/run/run_files.h"
#include "launch/run/run_observers.h"
#include "launch/run/train_job.h"
#include "launch/verb/train_flags.h"
#include "launch/verb/verbs.h"
#include "parallel/section.h"
#include "trainer/training_loop.h"

namespace tessera {
namespace {

constexpr int kPreempted = 75;  // EX_TEMPFAIL: a supervisor starts the job again

void limit_sections(const FailureOptions& limits) {
  set_section_limits({.start = limits.start_timeout_seconds,
                      .hang = limits.hang_timeout_seconds,
                      .save = limits.save_timeout_seconds});
}

// Collective, since all ranks must give the run one name.
LoopOptions loop_options(TrainJob& job, RunFiles& files, const Origin& origin) {
  LoopOptions loop;
  loop.checkpoints = job.directory.checkpoints(job.recipe);
  loop.run_id = job.world.all().broadcast(origin.run_id.empty() ? unique_suffix() : origin.run_id,
                                          0, "run id");
  loop.base = origin.base;
  loop.still_held = [&files] { files.hold().check_held(); };
  loop.on_saved = [&files](int64_t step) { files.saved(step); };
  loop.resolved_recipe = job.resolved;
  loop.made_with = scalars_of(job.made);
  loop.made_with.merge(scalars_of(job.machine));
  loop.pinned_steps = origin.pinned;
  loop.trace_file = job.directory.path() + "/trace/trace.json";
  loop.stop_after = job.command.stop_after;
  // Whoever has lost its directories stops at the next step; its save then says why.
  loop.stop_requested = [&files] { return stop_signalled() || files.hold().lost(); };
  return loop;
}

void tell_if_done_already(const Trainer& trainer, const Recipe& recipe) {
  if (trainer.steps_done() < trainer.total_steps()) return;
  log::info("step " + std::to_string(trainer.steps_done()) + " of " +
            std::to_string(trainer.total_steps()) +
            " is done already; --resume none starts afresh, " +
            (recipe.run.tokens > 0 ? "run.tokens" : "run.steps") + "=N goes on");
}

// The run from its preflight to its exit code. All ranks go through it together; whatever can be
// refused comes before the run directory is touched.
int train(const TrainCommand& command, World& world) {
  const Section section(SectionKind::init);
  TrainJob job(command, world);
  limit_sections(job.recipe.on_failure);
  RunFiles files(job);
  files.take_what_is_there();
  Trainer trainer(job.recipe, job.device, job.comms);
  const Origin origin = restore(job, trainer);
  files.take();
  if (!command.check_only) files.open();
  for (const std::string& warning : job.warnings) log::warn(warning);
  if (job.leads()) tell_opening_lines(job, trainer);
  if (!origin.changed.empty()) log::info("changed  " + origin.changed);
  if (command.check_only) {
    log::info("check    everything is in order; nothing was trained or written");
    return 0;
  }
  const int64_t generation = files.settle_line(trainer, origin);
  LoopOptions loop = loop_options(job, files, origin);
  loop.generation = generation;
  RunObservers observers(job, trainer, origin.words);
  loop.observers = observers.all();
  if (job.leads()) tell_if_done_already(trainer, job.recipe);
  const Outcome outcome = run_training(trainer, job.comms, job.storage, loop);
  if (job.leads()) sweep_remains(job.storage, loop.checkpoints, generation);
  observers.finish(trainer, outcome);
  return outcome == Outcome::preempted && job.leads() ? kPreempted : 0;
}

int run_train(const TrainCommand& command) {
  const int code =
      run_in_world(command.verbosity, [&](World& world) { return train(command, world); });
  // srun --kill-on-bad-exit kills whoever is not gone yet, and then reports that instead of 75.
  if (code == kPreempted) std::this_thread::sleep_for(std::chrono::milliseconds(500));
  return code;
}

}  // namespace

Verb train_verb() {
  const auto c = std::make_shared<TrainCommand>();
  return {.name = "train",
          .help = "train a recipe; joins the mpirun or srun job it is in",
          .flags = train_flags(*c),
          .run = [c] { return run_train(*c); },
          .holds_stop_signals = true};
}

}  // namespace tessera
