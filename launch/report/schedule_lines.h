// SPDX-License-Identifier: Apache-2.0
// What changes during a run, in words: its length, the ramp of the batch, the learning rate and the
// switch points of the router and of multi-token prediction. For `tessera plan` and the first lines
// of a run.
#pragma once

#include <string>
#include <vector>

#include "trainer/recipe.h"

namespace tessera {

struct ScheduleLine {
  std::string label;  // "run", "ramp", "rate", "bias", "mtp"
  std::string text;   // "14.8T tokens = 246317 steps"
};

// Of a recipe that validate() accepts; what stays the same throughout has no line.
std::vector<ScheduleLine> schedule_lines(const Recipe& recipe);

// "3072 to 15360 = 128 x 1 x 24 to 120 accumulation": sequences = data ranks x micro x
// microbatches.
std::string batch_words(const Recipe& recipe, int64_t data_ranks);

}  // namespace tessera
