// SPDX-License-Identifier: Apache-2.0
// The collectives of a group whose ranks are on one node, through memory of our own
// (parallel/transport/shared_board.h): the same bits as over MPI, without a library between.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/transport/doorbell.h"
#include "parallel/transport/shared_board.h"

namespace tessera {

// Collective over the board's group. names[p] is how messages call rank p ("rank 3").
// `patience` must outlive the communicator.
std::unique_ptr<Communicator> shared_memory_communicator(std::unique_ptr<SharedBoard> board,
                                                         Patience& patience, std::string label,
                                                         std::vector<std::string> names);

}  // namespace tessera
