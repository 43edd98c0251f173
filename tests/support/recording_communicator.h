// SPDX-License-Identifier: Apache-2.0
// A group that notes every call before the real group makes it, in the words of a dry run, so that
// what a rank says can be held against what `tessera plan` says of it.
#pragma once

#include <memory>

#include "parallel/transport/dry_run_communicator.h"

namespace tessera::test {

// Appends to *calls. REQUIRES that `inner` outlives it. Collective over the group, whose members
// tell each other `rank`, their place in the grid.
std::unique_ptr<Communicator> recording(Communicator& inner, int rank,
                                        std::shared_ptr<DryCalls> calls);

}  // namespace tessera::test
