// SPDX-License-Identifier: Apache-2.0
// What world.cc and mpi_communicator.cc share. The native communicator is passed as a pointer to
// an MPI_Comm, so that no header includes <mpi.h>.
#pragma once

#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace tessera {

// Takes over *comm (an MPI_Comm) and frees it at the end.
std::unique_ptr<Communicator> mpi_communicator(const void* comm, std::string label);

// After this no communicator calls MPI any more, not even to free itself (job is ending in error).
void abandon_mpi();

}  // namespace tessera
