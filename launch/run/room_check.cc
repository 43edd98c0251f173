// SPDX-License-Identifier: Apache-2.0
#include "launch/run/room_check.h"

#include <algorithm>

#include "checkpoint/retention.h"
#include "launch/report/format.h"

namespace tessera {
namespace {

// The largest number of saves that are still to come; with keep.last in the billions it is what
// counts.
double saves_to_come(const Recipe& recipe) {
  const int64_t every = recipe.checkpoint.every_steps;
  const bool by_clock = recipe.checkpoint.every_seconds > 0;
  if (by_clock || recipe.run.steps <= 0) return 1e18;
  return every > 0 ? static_cast<double>(recipe.run.steps / every + 1) : 1;
}

}  // namespace

std::string lack_of_room(Storage& storage, const std::string& root, int64_t bytes,
                         const Recipe& recipe) {
  const double here = static_cast<double>(committed_steps(storage, root).size());
  const double kept = static_cast<double>(recipe.checkpoint.keep.last) + 1;
  const double more = std::min(std::max(kept - here, 1.0), saves_to_come(recipe));
  const double needed = more * static_cast<double>(bytes);
  const double left = static_cast<double>(storage.free_bytes(root));
  if (needed <= left) return {};
  return root + ": has " + as_bytes(left) + " left, but checkpoint.keep.last " +
         std::to_string(recipe.checkpoint.keep.last) + " needs room for one more, " +
         as_bytes(static_cast<double>(bytes)) + " each, " + as_bytes(needed) +
         " in all. When the disk is full, the oldest goes first";
}

}  // namespace tessera
