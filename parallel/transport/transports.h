// SPDX-License-Identifier: Apache-2.0
// Over what a group of hosts talks (GPUs: parallel/transport/gpu_groups.h): memory of our own when
// all its ranks are on one node, else MPI. The environment variable TESSERA_TRANSPORT=mpi chooses
// MPI everywhere. Where shared memory cannot be had, all groups made from then on talk over MPI and
// the first rank says so once.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/transport/doorbell.h"
#include "parallel/transport/shared_board.h"

namespace tessera {

// Where each rank of the world is: which node, and its place among the node's ranks.
struct Placement {
  std::vector<int> node;
  std::vector<int> local_rank;
};

class Transports {
 public:
  // Collective over `world`. `node`: this rank's node; crowded: it has fewer cores than ranks.
  Transports(Communicator& world, Communicator& node, Placement placement, bool crowded);

  // The best transport for the group that `mpi` is (made of these ranks of the world), which it
  // takes over. Collective over the world, groups being disjoint.
  std::unique_ptr<Communicator> best(std::unique_ptr<Communicator> mpi,
                                     const std::vector<int>& ranks);

 private:
  bool on_one_node(const std::vector<int>& ranks) const;
  std::unique_ptr<SharedBoard> board(Communicator& mpi, const std::vector<int>& ranks);
  bool agreed(const std::string& problem);

  Communicator& world_;
  Placement placement_;
  bool enabled_;  // the same on every rank
  std::unique_ptr<SharedSegment> doorbells_;
  std::unique_ptr<Patience> patience_;
};

}  // namespace tessera
