// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tessera {

double learning_rate(const LrScheduleOptions& schedule, double peak, int64_t total_steps,
                     int64_t updates) {
  const auto u = static_cast<double>(updates);
  const auto warmup = static_cast<double>(schedule.warmup_steps);
  if (u < warmup) return peak * (u + 1) / (warmup + 1);
  const double minimum = peak * schedule.min_lr_ratio;
  const auto total = static_cast<double>(total_steps);
  if (schedule.kind == "warmup_cosine") {
    const double end = schedule.decay_steps > 0 ? static_cast<double>(schedule.decay_steps) : total;
    const double progress = std::clamp((u - warmup) / std::max(1.0, end - warmup), 0.0, 1.0);
    return minimum + (peak - minimum) * (1 + std::cos(std::numbers::pi * progress)) / 2;
  }
  if (schedule.kind == "wsd") {
    const double decay = std::max(1.0, static_cast<double>(schedule.decay_steps));
    const double left = std::clamp((total - u) / decay, 0.0, 1.0);
    return minimum + (peak - minimum) * left;
  }
  if (schedule.kind == "multi_step") {
    double rate = peak;
    for (const double milestone : schedule.milestones)
      if (u >= milestone * total) rate *= schedule.milestone_factor;
    return rate;
  }
  return peak;
}

}  // namespace tessera
