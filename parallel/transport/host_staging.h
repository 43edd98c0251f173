// SPDX-License-Identifier: Apache-2.0
// A Communicator for tensors of a GPU over one that knows the host's memory only: what is sent is
// first copied to pinned memory, what arrives is copied from there, and the bits are those of the
// Communicator beneath. Each call waits for the device, so it is for setups without anything
// better: several ranks that share a GPU, and tests. Tensors of the host go straight through.
#pragma once

#include <memory>

#include "parallel/communicators.h"

namespace tessera {

// `over` outlives what is returned.
std::unique_ptr<Communicator> host_staging_communicator(Communicator& over);

// All groups of more than one rank. Collective in the sense that all ranks must do it or none.
void stage_through_host(Communicators& comms);

}  // namespace tessera
