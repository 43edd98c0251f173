// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process, for tests that need ranks but no speed:
// run_ranks(4, [](Communicator& world) { ... }). A started collective is over when it has started,
// except that a receive waits for its message.
#pragma once

#include <functional>

#include "parallel/communicator.h"

namespace tessera {

// Runs `body` on `size` threads; returns when all have. The first exception (lowest rank) is thrown
// again. A rank that throws while others wait in a collective makes them fail, too: Error{peer}.
void run_ranks(int size, const std::function<void(Communicator& world)>& body);

}  // namespace tessera
