// SPDX-License-Identifier: Apache-2.0
// Whether a device has room for what a recipe needs of a rank (trainer/planner.h), and the words
// for when it has not: `tessera plan` asks for a device by name, `tessera train` for the one at
// hand before anything is allocated.
#pragma once

#include <optional>
#include <string>

#include "parallel/world.h"
#include "trainer/planner.h"

namespace tessera {

struct Capacity {
  std::string device;
  std::string words;  // "h200-141g", "cpu: 11.4 GiB free here / 2 ranks"
  int64_t bytes = 0;  // of one rank; 0: not known
};

// cpu: what is free here, shared by num_ranks. Throws Error{usage} naming the devices it knows.
Capacity capacity_of(const std::string& device, int num_ranks);
// What this rank's device has free, shared with the other ranks of this node that use it.
Capacity capacity_here(const World& world, Device device);

// Throws Error{capacity}: the need by class of memory and the cheapest change that fits.
[[noreturn]] void refuse(const Need& need, const Capacity& capacity,
                         const std::optional<Change>& change, int num_ranks);

struct RankFit {
  MemoryUse memory;  // of this rank, in the step that needs the most
  Capacity capacity;
};
// Throws Error{capacity} on a rank that does not fit.
RankFit check_memory(const World& world, Recipe recipe, Device device);

}  // namespace tessera
