// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera {
namespace {

// The length whose unit the schedule counts in.
const Length& measure_of(const LrScheduleOptions& schedule, const Length& run) {
  if (schedule.kind == LrKind::phases) return schedule.phases.front().length;
  const bool decays = schedule.kind == LrKind::warmup_cosine || schedule.kind == LrKind::wsd;
  return decays && schedule.decay.given() ? schedule.decay : run;
}

double half_cosine(double from, double to, double progress) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}

}  // namespace

LearningRate::LearningRate(const LrScheduleOptions& schedule, double peak, const Length& run,
                           const Timeline& timeline)
    : schedule_(schedule),
      peak_(peak),
      in_tokens_(measure_of(schedule, run).tokens > 0),
      warmup_(static_cast<double>(std::max(schedule.warmup.steps, schedule.warmup.tokens))) {
  const auto measured = [&](const Length& length) {
    return static_cast<double>(in_tokens_ ? timeline.in_tokens(length) : timeline.in_steps(length));
  };
  start_ = measured(schedule.warmup);
  decay_ = measured(schedule.decay);
  total_ = measured(run);
  const int64_t whole = in_tokens_ ? timeline.in_tokens(run) : timeline.in_steps(run);
  for (const double fraction : schedule.milestones)
    milestones_.push_back(milestone(fraction, whole));
  double end = 0, lr = peak;
  for (const LrPhase& phase : schedule.phases) {
    end += measured(phase.length);
    lr = phase.lr.value_or(lr);
    stretches_.push_back({phase.shape, end, lr});
  }
}

double LearningRate::at(const Reached& now) const {
  const bool by_tokens = schedule_.warmup.tokens > 0;
  const auto done = static_cast<double>(by_tokens ? now.tokens : now.updates);
  const auto next = static_cast<double>(by_tokens ? now.step_tokens : 1);
  if (done < warmup_) return peak_ * (done + next) / (warmup_ + next);
  const double minimum = peak_ * schedule_.min_lr_ratio;
  const auto x = static_cast<double>(in_tokens_ ? now.tokens : now.updates);
  if (schedule_.kind == LrKind::warmup_cosine) {
    const double end = decay_ > 0 ? decay_ : total_;
    return half_cosine(peak_, minimum,
                       std::clamp((x - start_) / std::max(1.0, end - start_), 0.0, 1.0));
  }
  if (schedule_.kind == LrKind::wsd) {
    const double left = std::clamp((total_ - x) / std::max(1.0, decay_), 0.0, 1.0);
    return minimum + (peak_ - minimum) * left;
  }
  if (schedule_.kind == LrKind::multi_step) {
    double rate = peak_;
    const int64_t reached = in_tokens_ ? now.tokens : now.updates;
    for (const int64_t milestone : milestones_)
      if (reached >= milestone) rate *= schedule_.milestone_factor;
    return rate;
  }
  return schedule_.kind == LrKind::phases ? in_phases(x) : peak_;
}

int64_t LearningRate::milestone(double fraction, int64_t run) {
  // A fraction that people write has few digits, so a product this near to a whole number is one.
  constexpr double kRounding = 1e-12;
  const double product = fraction * static_cast<double>(run), nearest = std::round(product);
  const bool whole = std::abs(product - nearest) <= kRounding * std::max(1.0, product);
  return static_cast<int64_t>(whole ? nearest : std::ceil(product));
}

double LearningRate::in_phases(double x) const {
  double begin = start_, before = peak_;
  for (const Stretch& stretch : stretches_) {
    if (x < stretch.end) {
      const double progress = std::clamp((x - begin) / (stretch.end - begin), 0.0, 1.0);
      if (stretch.shape == LrShape::cosine) return half_cosine(before, stretch.lr, progress);
      if (stretch.shape == LrShape::linear) return before + (stretch.lr - before) * progress;
      return stretch.lr;
    }
    begin = stretch.end;
    before = stretch.lr;
  }
  return before;
}

}  // namespace tessera
