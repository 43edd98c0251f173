// SPDX-License-Identifier: Apache-2.0
// Learning rates as pure functions of how far a run has come: the rate of the update that follows.
// x is the number of updates applied where the schedule's lengths are steps, and the tokens
// consumed where they are tokens; n is 1, or the tokens of the step.
//   warm-up        lr * (x + n) / (warmup + n)                    (nanoGPT's form; never 0)
//   warmup_cosine  min + (lr - min) * (1 + cos(pi * p)) / 2, p = progress from warm-up to decay end
//   wsd            constant, then linear to min over the last `decay` (arXiv:2404.06395)
//   multi_step     times milestone_factor from each milestone on (DeepSeek LLM, arXiv:2401.02954;
//                  DeepSeek-V2, arXiv:2405.04434, 3.1.2)
//   phases         one after the other, each constant, or a line or half a cosine from the rate of
//                  the one before (DeepSeek-V3, arXiv:2412.19437, 4.2)
// The warm-up may be given in another unit than the rest: where the rest begins is then converted
// along the Timeline. Immutable.
#pragma once

#include "trainer/recipe.h"
#include "trainer/timeline.h"

namespace tessera {

class LearningRate {
 public:
  // peak: optimizer.lr. run: the whole run. REQUIRES that validate() accepts them.
  LearningRate(const LrScheduleOptions& schedule, double peak, const Length& run,
               const Timeline& timeline);
  double at(const Reached& now) const;

  // The first update (or token) of `run` that is at or beyond this fraction of them: 7 for 0.07 of
  // 100, although 0.07 * 100 is above 7 in doubles.
  static int64_t milestone(double fraction, int64_t run);

 private:
  struct Stretch {  // of phases, in tokens or updates
    LrShape shape = LrShape::constant;
    double end = 0;
    double lr = 0;
  };
  double in_phases(double x) const;

  LrScheduleOptions schedule_;
  double peak_;
  bool in_tokens_ = false;                    // all but the warm-up
  double warmup_ = 0;                         // in its own unit
  double start_ = 0, decay_ = 0, total_ = 0;  // where warm-up ends; the others: 0 where not given
  std::vector<int64_t> milestones_;           // of multi_step, in updates or tokens
  std::vector<Stretch> stretches_;
};

}  // namespace tessera
