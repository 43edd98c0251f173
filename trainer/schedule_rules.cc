// SPDX-License-Identifier: Apache-2.0
#include "trainer/schedule_rules.h"

#include <algorithm>
#include <cstdlib>

#include "trainer/optim/lr_schedule.h"
#include "trainer/timeline.h"

namespace tessera {
namespace {

constexpr int64_t kMostSizes = 256;  // each has a plan of its own

std::string text(int64_t value) {
  return std::to_string(value);
}

// `key`_steps and `key`_tokens.
void check_length(const Length& length, const std::string& key, Problems& problems) {
  problems.require(length.steps >= 0, key + "_steps", "must not be negative");
  problems.require(length.tokens >= 0, key + "_tokens", "must not be negative");
  problems.require(length.steps <= 0 || length.tokens <= 0, key + "_tokens",
                   "is the same length as " + key + "_steps: give one of them");
}

void check_run_length(const RunOptions& run, Problems& problems) {
  problems.require(run.tokens >= 0, "run.tokens", "must not be negative");
  problems.require(run.steps <= 0 || run.tokens <= 0, "run.tokens",
                   "is the same length as run.steps: give one of them");
  if (run.tokens == 0 || run.steps < 0)
    problems.require(run.steps > 0, "run.steps",
                     "must be at least 1, got " + text(run.steps) + "; or give run.tokens");
}

// Whether all phases have lengths of one unit.
bool check_phases(const std::vector<LrPhase>& phases, Problems& problems) {
  const std::string key = "lr_schedule.phases";
  const size_t before = problems.found.size();
  for (size_t i = 0; i < phases.size(); ++i) {
    const LrPhase& phase = phases[i];
    const std::string which = "phase " + text(static_cast<int64_t>(i) + 1);
    const Length& length = phase.length;
    problems.require(
        length.steps >= 0 && length.tokens >= 0 && (length.steps > 0) != (length.tokens > 0), key,
        which + " wants steps or tokens, at least 1");
    problems.require((length.tokens > 0) == (phases.front().length.tokens > 0), key,
                     which + " has another unit than the first: all in steps or all in tokens");
    problems.require(!phase.lr || *phase.lr >= 0, key, which + ": lr must not be negative");
    problems.require(phase.shape == LrShape::constant || phase.lr, key,
                     which + ": a " + name_of(phase.shape) + " wants the lr that it ends with");
  }
  return problems.found.size() == before;
}

// Milestones are fractions of the run, each after the one before, and their factor must leave a
// rate to go on with.
void check_milestones(const LrScheduleOptions& schedule, Problems& problems) {
  double before = 0;
  for (const double milestone : schedule.milestones) {
    problems.require(milestone > before && milestone < 1, "lr_schedule.milestones",
                     "must be fractions of the run that increase between 0 and 1");
    before = milestone;
  }
  problems.require(schedule.milestone_factor > 0, "lr_schedule.milestone_factor",
                   "must be above 0: the rate is multiplied with it");
}

void check_lr_schedule(const LrScheduleOptions& schedule, Problems& problems) {
  check_length(schedule.warmup, "lr_schedule.warmup", problems);
  check_length(schedule.decay, "lr_schedule.decay", problems);
  const bool decays = schedule.kind == LrKind::warmup_cosine || schedule.kind == LrKind::wsd;
  problems.require(
      decays || !schedule.decay.given(),
      schedule.decay.tokens > 0 ? "lr_schedule.decay_tokens" : "lr_schedule.decay_steps",
      "belongs to warmup_cosine and wsd, not to " + std::string(name_of(schedule.kind)));
  problems.require(schedule.kind != LrKind::wsd || schedule.decay.given(),
                   "lr_schedule.decay_steps",
                   "is missing: wsd falls over the last decay_steps (or decay_tokens) of the run");
  if (schedule.kind == LrKind::multi_step) check_milestones(schedule, problems);
  problems.require(schedule.min_lr_ratio >= 0 && schedule.min_lr_ratio <= 1,
                   "lr_schedule.min_lr_ratio", "must be in [0, 1]");
  problems.require(
      (schedule.kind == LrKind::phases) == !schedule.phases.empty(), "lr_schedule.phases",
      schedule.phases.empty()
          ? "is missing, with lr_schedule.kind: phases"
          : "belongs to lr_schedule.kind phases, not to " + std::string(name_of(schedule.kind)));
}

// Warm-up, decay and run are compared on one scale: steps, or tokens where one is given in tokens.
struct Measured {
  int64_t warmup = 0, decay = 0, run = 0;
  const char* unit = "steps";
};
Measured measured(const Recipe& recipe) {
  const LrScheduleOptions& schedule = recipe.lr_schedule;
  const Length run = recipe.run.length();
  if (schedule.warmup.tokens == 0 && schedule.decay.tokens == 0 && run.tokens == 0)
    return {schedule.warmup.steps, schedule.decay.steps, run.steps};
  const Timeline timeline(recipe);
  return {timeline.in_tokens(schedule.warmup), timeline.in_tokens(schedule.decay),
          timeline.in_tokens(run), "tokens"};
}

// In a shape that has no room the rate would jump, or never get to where it is meant to go.
void check_room(const Recipe& recipe, Problems& problems) {
  const LrScheduleOptions& schedule = recipe.lr_schedule;
  const Measured length = measured(recipe);
  const std::string key =
      schedule.warmup.tokens > 0 ? "lr_schedule.warmup_tokens" : "lr_schedule.warmup_steps";
  const std::string remedy =
      ": shorten it, or keep the run's length and end early with train --steps N";
  const auto warmed_up = [&](int64_t end, const std::string& what) {
    problems.require(length.warmup == 0 || length.warmup < end, key,
                     "the warm-up of " + text(length.warmup) + " " + length.unit + " is not over " +
                         what + " (" + text(end) + ")" + remedy);
  };
  if (schedule.kind == LrKind::warmup_cosine && length.decay > 0)
    warmed_up(length.decay, "when the decay ends");
  else if (schedule.kind == LrKind::warmup_cosine)
    warmed_up(length.run, "when the run ends");
  if (schedule.kind == LrKind::multi_step && !schedule.milestones.empty())
    warmed_up(LearningRate::milestone(schedule.milestones.front(), length.run),
              "at the first milestone");
  if (schedule.kind == LrKind::wsd)
    problems.require(
        length.decay <= length.run - length.warmup,
        schedule.decay.tokens > 0 ? "lr_schedule.decay_tokens" : "lr_schedule.decay_steps",
        "the decay of " + text(length.decay) + " " + length.unit + " has no room in a run of " +
            text(length.run) + " with a warm-up of " + text(length.warmup) + remedy);
}

// Phases count from the run's start, so the warm-up is a part of the first.
void check_warmup_in_phase(const Recipe& recipe, Problems& problems) {
  const LrScheduleOptions& schedule = recipe.lr_schedule;
  const Timeline timeline(recipe);
  const Length& first = schedule.phases.front().length;
  problems.require(first.tokens > 0 ? timeline.in_tokens(schedule.warmup) <= first.tokens
                                    : timeline.in_steps(schedule.warmup) <= first.steps,
                   "lr_schedule.phases", "the warm-up is a part of phase 1, which is shorter");
}

// The divisors of `whole` around `near`: "3 or 6", "6".
std::string divisors_around(int64_t whole, int64_t near) {
  constexpr int64_t kFarthest = 1 << 20;
  const auto nearest = [&](int64_t step) -> std::string {
    for (int64_t d = near; d >= 1 && d <= whole && std::abs(d - near) < kFarthest; d += step)
      if (whole % d == 0) return text(d);
    return "";
  };
  near = std::min(near, whole);
  const std::string below = nearest(-1), above = nearest(1);
  return below + (below.empty() || above.empty() ? "" : " or ") + above;
}

}  // namespace

bool check_ramp(const BatchOptions& batch, Problems& problems) {
  const BatchRamp& ramp = batch.ramp;
  const size_t before = problems.found.size();
  problems.require(ramp.from >= 0, "batch.ramp.from", "must not be negative");
  if (ramp.from <= 0) {
    const auto unused = [&](bool good, const std::string& key) {
      problems.require(good, key, "has no effect without batch.ramp.from");
    };
    unused(ramp.increment == 0, "batch.ramp.increment");
    unused(ramp.tokens == 0, "batch.ramp.tokens");
    unused(ramp.schedule.empty(), "batch.ramp.schedule");
    return false;
  }
  problems.positive(ramp.increment, "batch.ramp.increment");
  problems.positive(ramp.tokens, "batch.ramp.tokens");
  problems.require(ramp.from < batch.global, "batch.ramp.from",
                   text(ramp.from) + " sequences are not below batch.global " + text(batch.global));
  if (problems.found.size() > before) return false;
  const int64_t gap = batch.global - ramp.from;
  problems.require(gap % ramp.increment == 0, "batch.ramp.increment",
                   text(ramp.increment) +
                       " does not divide the way from batch.ramp.from to "
                       "batch.global, " +
                       text(gap) +
                       " sequences; nearest legal: " + divisors_around(gap, ramp.increment));
  problems.require(gap / ramp.increment < kMostSizes, "batch.ramp.increment",
                   "makes " + text(gap / ramp.increment + 1) + " sizes of a step, at most " +
                       text(kMostSizes) + " are planned: take a larger one");
  return problems.found.size() == before;
}

void check_schedules(const Recipe& recipe, Problems& problems) {
  const BatchOptions& batch = recipe.batch;
  const bool sized = batch.global > 0 && recipe.data.sequence_length > 0;
  const bool steady = batch.ramp.from == 0;
  const bool ramp = sized && check_ramp(batch, problems);
  const size_t before = problems.found.size();
  check_run_length(recipe.run, problems);
  check_lr_schedule(recipe.lr_schedule, problems);
  if (problems.found.size() == before && sized && (steady || ramp)) check_room(recipe, problems);
  if (!recipe.lr_schedule.phases.empty() && check_phases(recipe.lr_schedule.phases, problems) &&
      sized && (steady || ramp))
    check_warmup_in_phase(recipe, problems);
  check_length(recipe.router.bias_update, "router.bias_update", problems);
  check_length(recipe.mtp.second_phase, "mtp.second_phase", problems);
}

}  // namespace tessera
