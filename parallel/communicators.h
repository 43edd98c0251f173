// SPDX-License-Identifier: Apache-2.0
// This rank's group along every axis of the grid, the group of all ranks of the grid, and two
// groups that are no axis. Made once from the World and the grid, collectively; passed explicitly
// to whoever communicates.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "parallel/process_grid.h"
#include "parallel/transport/dry_run_communicator.h"
#include "parallel/world.h"

namespace tessera {

enum class Transport {
  best,  // shared memory inside a node, else MPI
  mpi,
};

class Communicators {
 public:
  // Collective over the world, of which the grid may fill only the first ranks. The others take
  // part in making the groups and get groups of one; member() is false for them.
  // replicas: how many neighbouring tensor ranks hold the same part of something that has fewer
  // parts than there are tensor ranks (key-value heads); divides the tensor axis.
  Communicators(World& world, const ProcessGrid& grid, int replicas = 1,
                Transport transport = Transport::best);
  // Groups of one for every axis: a single process without MPI (tools, tests).
  Communicators();
  // Rank `rank` of a grid that is not there (parallel/transport/dry_run_communicator.h): nothing is
  // sent, and the calls of all its groups are appended to *calls in their order. Not collective.
  static Communicators dry_run(const ProcessGrid& grid, int rank, std::shared_ptr<DryCalls> calls,
                               int replicas = 1);

  // `other` is asked for every group and may return one to stand in its place, which the group
  // outlives: host staging (parallel/transport/host_staging.h), and what tests put between.
  void replace(const std::function<std::unique_ptr<Communicator>(Communicator&)>& other);

  const ProcessGrid& grid() const { return grid_; }
  int rank() const { return rank_; }  // in the grid (and in the World)
  bool member() const { return rank_ < grid_.num_ranks(); }
  Communicator& world() const { return *world_; }  // all ranks of the grid
  Communicator& along(Axis axis) const { return *groups_[static_cast<size_t>(axis)]; }
  Communicator& data() const { return along(Axis::data); }
  // The `replicas` neighbours in my tensor group that hold the same part as I do: their gradients
  // of it are parts of one sum.
  Communicator& tensor_replicas() const { return *tensor_replicas_; }
  // The first and the last pipeline coordinate, in this order, with my data, context and tensor
  // coordinates: they hold tied embeddings twice and add their gradients. A group of one when
  // there is one coordinate, and on the coordinates between.
  Communicator& tied_stages() const { return *tied_stages_; }

 private:
  using Group = std::unique_ptr<Communicator>;
  using MakeGroup = std::function<Group(const std::vector<int>& ranks, const std::string& label)>;
  Communicators(const ProcessGrid& grid, int rank, int replicas, const MakeGroup& make);
  std::vector<int> replicas_of(int rank, int replicas) const;
  std::vector<int> tied_with(int rank) const;

  ProcessGrid grid_;
  int rank_;
  Communicator* world_ = nullptr;
  Group own_world_;  // where it is not the World's
  std::array<Group, kNumAxes> groups_;
  Group tensor_replicas_, tied_stages_;
  std::vector<Group> replaced_;
};

}  // namespace tessera
