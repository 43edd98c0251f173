// SPDX-License-Identifier: Apache-2.0
#include "trainer/training_loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <utility>

#include "checkpoint/retention.h"
#include "checkpoint/writer.h"
#include "kernels/base/trace.h"
#include "parallel/section.h"
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
      const Section section(SectionKind::step, std::to_string(trainer_.steps_done() + 1));
      if (trainer_.steps_done() + 1 == recipe_.profile.first_step)
        start_trace(trainer_.stream(), comms_.world());
      hear(trainer_.advance(wishes()));
      const bool last = trainer_.steps_done() == end_;
      const auto& every = recipe_.checkpoint.every_steps;
      save_is_due_ |= due(every, false);
      if (agreed_.stop || agreed_.save || due(recipe_.run.eval_every, last) || save_is_due_)
        hear(trainer_.settle());
      finish_trace(last);
      const StepWishes agreed = std::exchange(agreed_, {});
      const bool preempted = agreed.stop && !last;
      const bool stop_saves = preempted && recipe_.checkpoint.on_preempt == OnPreempt::save;
      save_is_due_ |= agreed.save;
      if (last) check_converging();
      if (last || stop_saves || (save_is_due_ && applied_)) save(last || stop_saves);
      if (preempted) return Outcome::preempted;
      // After the save, which an evaluation that fails or is ended must not cost.
      if (due(recipe_.run.eval_every, last) && !evaluate() && !last) {
        if (recipe_.checkpoint.on_preempt == OnPreempt::save) save(true);
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
    applied_ = report->applied;
    ever_applied_ |= applied_;
    const bool scale_may_shrink =
        recipe_.compute_type() == DType::f16 && std::isfinite(report->loss);
    bad_steps_ = applied_ || scale_may_shrink ? 0 : bad_steps_ + 1;
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
      tell([&](Observer& o) { o.on_warning(Warning::trace_unwritten, error.what()); });
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
    const Section section(SectionKind::eval, "of step " + std::to_string(trainer_.steps_done()));
    const EvalReport report = trainer_.evaluate(
        [&](double part) {
          tell([&](Observer& o) { o.on_eval_progress(trainer_.steps_done(), part); });
        },
        options_.stop_requested);
    tell([&](Observer& observer) {
      if (report.stopped)
        observer.on_warning(Warning::evaluation_cut_short,
                            "a signal ended the evaluation of step " + std::to_string(report.step) +
                                "; tessera eval makes it up");
      else
        observer.on_eval(report);
    });
    return !report.stopped;
  }

  // One bad step at the very end is no divergence: its update was left out, and the weights are as
  // good as before. f16 skips steps until the loss scale fits; its loss is finite then.
  void check_converging() const {
    check(bad_steps_ < (ever_applied_ ? 2 : 1), ErrorKind::numeric, "the last", bad_steps_,
          "step(s) were not applied, for loss or gradients were not finite: the run has diverged; "
          "they are not saved, and earlier checkpoints stay");
  }

  // must_succeed: nothing follows that could save again, so a failure ends the run.
  void save(bool must_succeed) {
    save_is_due_ = false;
    if (last_saved_step_ == trainer_.steps_done()) return;
    const Section section(SectionKind::save, "of step " + std::to_string(trainer_.steps_done()));
    const auto start = Clock::now();
    CheckpointEvent event;
    event.step = trainer_.steps_done();
    replicas_(trainer_.state());
    try {
      write(event);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::storage) throw;
      event.error = error.what();
      if (lacks_room(error) && found_room()) try_again(event);
    }
    if (event.error.empty()) {
      failures_ = 0;
      last_saved_step_ = trainer_.steps_done();
    } else {
      event.ends_run = ++failures_ >= recipe_.checkpoint.max_failures || must_succeed;
    }
    last_save_ = Clock::now();
    if (event.error.empty()) tidy_up(event.step);
    event.stall_seconds = seconds_since(start);
    tell([&](Observer& observer) { observer.on_checkpoint(event); });
    check(!event.ends_run, ErrorKind::storage,
          std::to_string(failures_) + " save(s) in a row failed (checkpoint.max_failures " +
              std::to_string(recipe_.checkpoint.max_failures) + "); the last:",
          event.error);
  }

  void write(CheckpointEvent& event) {
    SaveInfo info{options_.run_id, event.step, comms_.grid().to_string(), options_.resolved_recipe};
    info.generation = options_.generation;
    info.base = options_.base;
    info.still_held = options_.still_held;
    info.finite = true;
    State state = trainer_.state();
    state.scalars.insert(options_.made_with.begin(), options_.made_with.end());
    const SaveReport report =
        save_checkpoint(storage_, comms_.world(), options_.checkpoints, info, state);
    event.directory = report.directory;
    event.bytes = report.bytes;
    event.seconds = report.seconds;
    event.error.clear();
  }

  void try_again(CheckpointEvent& event) {
    try {
      write(event);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::storage) throw;
      event.error = error.what();
    }
  }

  // Collective: all ranks try again, or none.
  bool found_room() {
    int64_t freed = 0;
    if (comms_.rank() == 0) {
      try {
        options_.still_held();
        freed = make_room(storage_, options_.checkpoints, keep());
      } catch (const Error& error) {
        tell([&](Observer& o) {
          o.on_warning(Warning::retention_failed, std::string("retention: ") + error.what());
        });
      }
      if (freed > 0)
        tell([&](Observer& o) {
          o.on_warning(Warning::disk_full_made_room,
                       "the disk is full: deleted " + std::to_string(freed) +
                           " bytes of old or damaged checkpoints, saving again");
        });
    }
    return comms_.world().all_reduce(freed, Reduce::max, "checkpoint room") > 0;
  }

  Keep keep() const {
    Keep keep{.last = recipe_.checkpoint.keep.last,
              .every = recipe_.checkpoint.keep.every,
              .pinned = options_.pinned_steps};
    if (last_saved_step_ >= 0) keep.pinned.push_back(last_saved_step_);
    return keep;
  }

  // After a save. Old ones go only while training makes progress.
  void tidy_up(int64_t step) {
    if (comms_.rank() != 0) return;
    try {
      options_.on_saved(step);
      if (!applied_) return;
      options_.still_held();
      const RetentionReport report =
          apply_retention(storage_, options_.checkpoints, keep(), options_.generation);
      for (const Quarantined& moved : report.set_aside)
        tell([&](Observer& o) {
          o.on_warning(Warning::foreign_step_set_aside,
                       moved.from + " was saved by an earlier job and is now " + moved.to);
        });
    } catch (const Error& error) {
      tell([&](Observer& o) {
        o.on_warning(Warning::retention_failed, std::string("retention: ") + error.what());
      });
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
  bool save_is_due_ = false;
  bool applied_ = true;        // the last step whose report was heard
  bool ever_applied_ = false;  // any of this job
  int64_t bad_steps_ = 0;      // in a row
};

}  // namespace

Outcome run_training(Trainer& trainer, const Communicators& comms, Storage& storage,
                     const LoopOptions& options) {
  return Loop(trainer, comms, storage, options).run();
}

}  // namespace tessera
