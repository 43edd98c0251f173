// SPDX-License-Identifier: Apache-2.0
// Ranks that fail together: nobody is left waiting in a collective for a peer that has given up.
#pragma once

#include <functional>

#include "parallel/communicator.h"

namespace tessera {

// Runs `work` on every rank (it must not communicate), then agrees: it returns on all ranks when it
// succeeded on all, else it throws the same Error on all, that of the lowest rank that failed.
// Collective.
void together(Communicator& world, const char* tag, const std::function<void()>& work);

}  // namespace tessera
