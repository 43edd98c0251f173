// SPDX-License-Identifier: Apache-2.0
// Learning rates as pure functions of the number of updates applied so far (0-based: the rate of
// the next update).
//   warm-up        lr * (u + 1) / (warmup + 1)                    (nanoGPT's form; never 0)
//   warmup_cosine  min + (lr - min) * (1 + cos(pi * p)) / 2, p = progress from warm-up to decay end
//   wsd            constant, then linear to min over the last decay_steps (arXiv:2404.06395)
//   multi_step     times milestone_factor at each milestone (DeepSeek LLM, arXiv:2401.02954)
#pragma once

#include "trainer/recipe.h"

namespace tessera {

double learning_rate(const LrScheduleOptions& schedule, double peak, int64_t total_steps,
                     int64_t updates);

}  // namespace tessera
