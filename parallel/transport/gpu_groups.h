// SPDX-License-Identifier: Apache-2.0
// Lets groups of ranks that compute on GPUs talk: over NCCL where each rank has a GPU of its own,
// through the host's memory (parallel/transport/host_staging.h) where ranks share one.
//
// $TESSERA_TRANSPORT: nccl insists on NCCL; mpi and shared_memory stay with the host's memory.
#pragma once

#include <memory>
#include <string>

#include "parallel/communicators.h"
#include "parallel/transport/nccl_plugin.h"

namespace tessera {

class GpuGroups {
 public:
  // Nothing is made before it is needed. patience: seconds within which all ranks must come.
  GpuGroups(World& world, double patience) : world_(world), patience_(patience) {}
  GpuGroups(const GpuGroups&) = delete;
  GpuGroups& operator=(const GpuGroups&) = delete;

  // Makes groups fit for tensors of this rank's device; groups are outlived by this object. Host
  // tensors go on over what the groups were made of. Collective over the world, with one kind of
  // device. True when they talk over NCCL now. Throws Error{usage} where NCCL is insisted on and
  // cannot be had, and where each rank has a GPU but the plugin has no NCCL of this build.
  bool fit(Communicators& comms, Device device, Transport transport = Transport::best);

 private:
  bool uses_nccl(Device device);

  World& world_;
  double patience_;
  bool decided_ = false;
  std::unique_ptr<NcclRanks> nccl_;  // null: through the host's memory
};

// Why ranks on these devices cannot talk over NCCL; empty: they can. Collective.
std::string why_not_nccl(Communicator& all, Device device);

// Over NCCL, all groups of more than one rank. Collective over the ranks of `nccl`.
void use_nccl(Communicators& comms, NcclRanks& nccl);
// As the plugin makes it. REQUIRES that nothing speaks against it.
std::unique_ptr<NcclRanks> nccl_ranks(Communicator& control, Device device, double patience);

}  // namespace tessera
