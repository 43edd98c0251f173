// SPDX-License-Identifier: Apache-2.0
// These rules of validate() refuse numbers that cannot be counted: sizes that become 32-bit
// integers in kernels, plans and token files, and products of them that do not fit 64 bits.
#pragma once

#include "trainer/problems.h"

namespace tessera {

// A step has at most this many microbatches on a pipeline, because a plan lists every one.
inline constexpr int64_t kMostMicrobatches = int64_t{1} << 20;

// Returns false when a size is beyond its limit: other rules would multiply it with further ones.
bool check_sizes(const Recipe& recipe, Problems& problems);

}  // namespace tessera
