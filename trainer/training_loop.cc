// SPDX-License-Identifier: Apache-2.0
#include "trainer/training_loop.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "checkpoint/retention.h"
#include "checkpoint/writer.h"
#include "kernels/base/trace.h"
#include "trainer/replicas.h"
#include "trainer/trace_file.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Loop {
 public:
  Loop(Trainer& trainer, const Communicators& comms, Storage& storage, const LoopOptions& options)
      : trainer_(trainer),
        comms_(comms),
        storage_(storage),
        options_(options),
        recipe_(trainer.recipe()),
        replicas_(comms.world()),
        total_(trainer.total_steps()),
        end_(options.stop_after > 0 ? std::min(options.stop_after, total_) : total_) {}

  Outcome run() {
    while (trainer_.steps_done() < end_) {
      if (trainer_.steps_done() + 1 == recipe_.profile.first_step)
        start_trace(trainer_.stream(), comms_.world());
      hear(trainer_.advance(wishes()));
      const bool last = trainer_.steps_done() == end_;
      const auto& every = recipe_.checkpoint.every_steps;
      if (agreed_.stop || agreed_.save || due(recipe_.run.eval_every, last) || due(every, false))
        hear(trainer_.settle());
      finish_trace(last);
      const StepWishes agreed = std::exchange(agreed_, {});
      const bool preempted = agreed.stop && !last;
      const bool stop_saves = preempted && recipe_.checkpoint.on_preempt == "save";
      if (last || stop_saves || agreed.save || due(every, false)) save(last || stop_saves);
      if (preempted) return Outcome::preempted;
      // After the save, which an evaluation that fails or is ended must not cost.
      if (due(recipe_.run.eval_every, last) && !evaluate() && !last) {
        if (recipe_.checkpoint.on_preempt == "save") save(true);
        return Outcome::preempted;
      }
    }
    return end_ < total_ ? Outcome::stopped : Outcome::done;
  }

 private:
  bool due(int64_t every, bool last) const {
    return last || (every > 0 && trainer_.steps_done() % every == 0);
  }

  // On a GPU the report is of the step before, and what the ranks agreed to is done a step later.
  void hear(const std::optional<StepReport>& report) {
    if (!report) return;
    agreed_.save |= report->agreed.save;
    agreed_.stop |= report->agreed.stop;
    tell([&](Observer& observer) { observer.on_step(*report); });
  }

  // A trace that cannot be written is no reason to stop.
  void finish_trace(bool last) {
    const bool ends = trainer_.steps_done() == recipe_.profile.last_step || last || agreed_.stop;
    if (!ends || !trace::recording()) return;
    try {
      write_trace(trainer_.stream(), comms_, options_.trace_file);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::storage) throw;
      tell([&](Observer& o) { o.on_warning("W013", error.what()); });
    }
  }

  // Rank 0's clock decides; any rank's signal counts. Both travel with the step's own reduction.
  StepWishes wishes() const {
    const double every = recipe_.checkpoint.every_seconds;
    return {.save = comms_.rank() == 0 && every > 0 && seconds_since(last_save_) >= every,
            .stop = options_.stop_requested()};
  }

  // False when a signal ended it.
  bool evaluate() {
    if (recipe_.data.validation.empty()) return true;
    const EvalReport report = trainer_.evaluate(
        [&](double part) {
          tell([&](Observer& o) { o.on_eval_progress(trainer_.steps_done(), part); });
        },
        options_.stop_requested);
    tell([&](Observer& observer) {
      if (report.stopped)
        observer.on_warning("W051", "a signal ended the evaluation of step " +
                                        std::to_string(report.step) + "; tessera eval makes it up");
      else
        observer.on_eval(report);
    });
    return !report.stopped;
  }

  // must_succeed: nothing follows that could save again, so a failure ends the run.
  void save(bool must_succeed) {
    if (last_saved_step_ == trainer_.steps_done()) return;
    const auto start = Clock::now();
    CheckpointEvent event;
    event.step = trainer_.steps_done();
    const SaveInfo info{options_.run_id, trainer_.steps_done(), comms_.grid().to_string(),
                        options_.resolved_recipe};
    const State state = trainer_.state();
    replicas_(state);
    try {
      const SaveReport report =
          save_checkpoint(storage_, comms_.world(), options_.checkpoints, info, state);
      event.directory = report.directory;
      event.bytes = report.bytes;
      event.seconds = report.seconds;
      failures_ = 0;
      last_saved_step_ = trainer_.steps_done();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::storage) throw;
      event.error = error.what();
      event.ends_run = ++failures_ >= recipe_.checkpoint.max_failures || must_succeed;
    }
    last_save_ = Clock::now();
    if (event.error.empty()) prune();
    event.stall_seconds = seconds_since(start);
    tell([&](Observer& observer) { observer.on_checkpoint(event); });
    check(!event.ends_run, ErrorKind::storage,
          std::to_string(failures_) + " save(s) in a row failed (checkpoint.max_failures " +
              std::to_string(recipe_.checkpoint.max_failures) + "); the last:",
          event.error);
  }

  void prune() {
    if (comms_.rank() != 0) return;
    try {
      apply_retention(storage_, options_.checkpoints,
                      {.last = static_cast<int>(recipe_.checkpoint.keep.last),
                       .every = recipe_.checkpoint.keep.every,
                       .pinned = options_.pinned_steps});
    } catch (const Error& error) {
      tell([&](Observer& o) { o.on_warning("W010", std::string("retention: ") + error.what()); });
    }
  }

  template <typename Call>
  void tell(Call call) {
    if (comms_.rank() != 0) return;
    for (Observer* observer : options_.observers) call(*observer);
  }

  Trainer& trainer_;
  const Communicators& comms_;
  Storage& storage_;
  const LoopOptions& options_;
  const Recipe& recipe_;
  ReplicaCheck replicas_;
  int64_t total_;      // the run's last step
  int64_t end_;        // this job's
  StepWishes agreed_;  // and not done yet
  Clock::time_point last_save_ = Clock::now();
  int64_t last_saved_step_ = -1;
  int64_t failures_ = 0;
};

}  // namespace

Outcome run_training(Trainer& trainer, const Communicators& comms, Storage& storage,
                     const LoopOptions& options) {
  return Loop(trainer, comms, storage, options).run();
}

}  // namespace tessera
