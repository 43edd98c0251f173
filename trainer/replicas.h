// SPDX-License-Identifier: Apache-2.0
// Weights that several ranks hold whole, and that must have equal bits on all of them: those of
// data ranks without ZeRO, norms of tensor ranks, a shared embedding of two stages. A bit that
// flips in one rank's memory, or a rank that computed something else, would train on unseen, and
// what is saved would be whichever rank's it is to write; here it is found before a save.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/state.h"
#include "parallel/communicator.h"

namespace tessera {

// Called by all ranks of `world` together, which must outlive it. Costs one pass over the weights
// that are held more than once (CRC32C, the speed of memory) and two reductions of one number.
class ReplicaCheck {
 public:
  explicit ReplicaCheck(Communicator& world) : world_(world) {}

  // Compares the entries of role "param" that have equal names and boxes. Throws Error{numeric} on
  // every rank when bits differ: it names the first such tensor, the ranks that are outvoted (of
  // two, both), and which of them hold numbers that are not finite.
  void operator()(const State& state);

 private:
  struct Held {
    size_t entry = 0;      // of the State
    uint64_t key = 0;      // of name and box
    int64_t replicas = 1;  // ranks that hold it
    bool first = true;     // mine is that of the lowest rank
    uint32_t checksum = 0;
  };
  void find_replicas(const State& state);
  [[noreturn]] void refuse(const State& state) const;

  Communicator& world_;
  std::vector<Held> held_;  // more than once, of this rank
  std::string keys_;        // of all of this rank's entries when held_ was made
};

}  // namespace tessera
