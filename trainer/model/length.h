// SPDX-License-Identifier: Apache-2.0
// How long something lasts, in steps or in tokens, and how far a run has come. Tokens of a schedule
// are positions: sequences x data.sequence_length, whether or not each of them is a target. So they
// follow from the samples consumed, and no layout and no text changes when a phase ends.
#pragma once

#include <cstdint>

namespace tessera {

struct Reached {
  int64_t steps = 0;        // batches consumed
  int64_t updates = 0;      // of them applied
  int64_t tokens = 0;       // consumed
  int64_t step_tokens = 0;  // of the step that begins here
};

// One of the two is above 0; neither: what that means is said where the length is.
struct Length {
  int64_t steps = 0;
  int64_t tokens = 0;

  bool given() const { return steps > 0 || tokens > 0; }
  // Whether a length that is given has passed.
  bool over(const Reached& now) const {
    return given() && (tokens > 0 ? now.tokens >= tokens : now.steps >= steps);
  }
};

}  // namespace tessera
