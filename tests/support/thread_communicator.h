// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process, for tests of rooms that agree, gather and broadcast but need no
// speed: run_ranks(4, [](Communicator& world) { ... }). Implements all_reduce of i64, all_gather,
// broadcast, barrier, and sends that are done when they are received; anything else is
// Error{internal}.
#pragma once

#include <functional>

#include "parallel/communicator.h"

namespace tessera {

// Runs `body` on `size` threads; returns when all have. The first exception (lowest rank) is thrown
// again. A rank that throws while others wait in a collective makes them fail, too: Error{peer}.
void run_ranks(int size, const std::function<void(Communicator& world)>& body);

}  // namespace tessera
