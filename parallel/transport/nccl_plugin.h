// SPDX-License-Identifier: Apache-2.0
// What libtessera_cuda.so gives to this room: groups of ranks that talk over NCCL, each rank with a
// GPU of its own. NCCL's header stays behind it (parallel/transport/nccl_communicator.cc, which
// says how).
//
// const char* tessera_plugin_nccl_abi(): compiled_nccl_abi() of the headers it was compiled with.
// tessera::NcclRanks* tessera_plugin_nccl(tessera::Communicator& control, tessera::Device device,
//     double patience): makes the communicator of all ranks of `control`, which carries host values
//     and outlives it. Collective. Throws Error{peer} when a rank does not come within `patience`
//     seconds (0: waits for ever). The caller owns what it gets.
#pragma once

#include <memory>
#include <string>

#include "kernels/base/device.h"
#include "parallel/communicator.h"

namespace tessera {

class NcclRanks {
 public:
  virtual ~NcclRanks() = default;
  virtual std::string version() const = 0;  // "2.28.9"
  // The group of the ranks of `over`, which carries its host values and outlives it. Collective
  // over all ranks, groups being disjoint; it is given and outlived by this object's thread.
  virtual std::unique_ptr<Communicator> group(Communicator& over) = 0;
  virtual void no_group() = 0;  // takes part in the making of the others' groups
};

inline constexpr const char* kNcclAbiSymbol = "tessera_plugin_nccl_abi";
inline constexpr const char* kNcclSymbol = "tessera_plugin_nccl";
inline constexpr int kNcclAbi = 1;  // raised with every change of Communicator or of NcclRanks

// Internal linkage, so that each library has its own.
static inline std::string compiled_nccl_abi() {
  return "tessera nccl " + std::to_string(kNcclAbi) + ", cut " + std::to_string(sizeof(Cut)) +
         ", communicator " + std::to_string(sizeof(Communicator));
}

}  // namespace tessera
