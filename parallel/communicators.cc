// SPDX-License-Identifier: Apache-2.0
#include "parallel/communicators.h"

#include <numeric>

namespace tessera {
namespace {

const ProcessGrid& fitting(const ProcessGrid& grid, const World& world) {
  check(grid.num_ranks() <= world.size(), ErrorKind::capacity, "parallel: the grid has",
        grid.num_ranks(), "ranks, the job", world.size());
  return grid;
}

std::function<std::unique_ptr<Communicator>(const std::vector<int>&, const std::string&)> maker(
    World& world, Transport transport) {
  return [&world, transport](const std::vector<int>& ranks, const std::string& label) {
    return transport == Transport::mpi ? world.mpi_group(ranks, label) : world.group(ranks, label);
  };
}

}  // namespace

// Every rank makes the same groups in the same order, those outside the grid alone.
Communicators::Communicators(const ProcessGrid& grid, int rank, int replicas, const MakeGroup& make)
    : grid_(grid), rank_(rank) {
  check(replicas >= 1 && grid.size(Axis::tensor) % replicas == 0, ErrorKind::capacity,
        "parallel.tensor =", grid.size(Axis::tensor), "cannot hold groups of replicas:", replicas);
  const std::vector<int> alone = {rank};
  for (int axis = 0; axis < kNumAxes; ++axis) {
    const auto which = static_cast<Axis>(axis);
    groups_[static_cast<size_t>(axis)] =
        make(member() ? grid.ranks_along(which, rank) : alone, name(which));
  }
  tensor_replicas_ = make(member() ? replicas_of(rank, replicas) : alone, "tensor replicas");
  tied_stages_ = make(member() ? tied_with(rank) : alone, "tied stages");
}

Communicators::Communicators(World& world, const ProcessGrid& grid, int replicas,
                             Transport transport)
    : Communicators(fitting(grid, world), world.rank(), replicas, maker(world, transport)) {
  world_ = &world.all();
  if (grid.num_ranks() == world.size() && transport == Transport::best) return;
  std::vector<int> everyone(static_cast<size_t>(grid.num_ranks()));
  std::iota(everyone.begin(), everyone.end(), 0);
  own_world_ = maker(world, transport)(member() ? everyone : std::vector<int>{rank_}, "world");
  world_ = own_world_.get();
}

Communicators::Communicators()
    : Communicators(ProcessGrid(GridSizes{}), 0, 1,
                    [](const std::vector<int>&, const std::string& label) {
                      return self_communicator(label);
                    }) {
  own_world_ = self_communicator("world");
  world_ = own_world_.get();
}

Communicators Communicators::dry_run(const ProcessGrid& grid, int rank,
                                     std::shared_ptr<DryCalls> calls, int replicas) {
  const MakeGroup make = [&](const std::vector<int>& ranks, const std::string& label) {
    return dry_run_communicator(ranks, rank, label, calls);
  };
  check(rank >= 0 && rank < grid.num_ranks(), "dry run: the grid has no rank", rank);
  Communicators comms(grid, rank, replicas, make);
  std::vector<int> everyone(static_cast<size_t>(grid.num_ranks()));
  std::iota(everyone.begin(), everyone.end(), 0);
  comms.own_world_ = make(everyone, "world");
  comms.world_ = comms.own_world_.get();
  return comms;
}

std::vector<int> Communicators::replicas_of(int rank, int replicas) const {
  const std::vector<int> row = grid_.ranks_along(Axis::tensor, rank);
  const auto first = row.begin() + grid_.coord(Axis::tensor, rank) / replicas * replicas;
  return {first, first + replicas};
}

std::vector<int> Communicators::tied_with(int rank) const {
  const std::vector<int> stages = grid_.ranks_along(Axis::pipeline, rank);
  const bool at_an_end = rank == stages.front() || rank == stages.back();
  if (stages.size() == 1 || !at_an_end) return {rank};
  return {stages.front(), stages.back()};
}

void Communicators::replace(
    const std::function<std::unique_ptr<Communicator>(Communicator&)>& other) {
  const auto stand_in = [&](Group& group) {
    Group instead = other(*group);
    if (!instead) return;
    replaced_.push_back(std::move(group));
    group = std::move(instead);
  };
  for (Group& group : groups_) stand_in(group);
  stand_in(tensor_replicas_);
  stand_in(tied_stages_);
  if (Group instead = other(*world_)) {
    replaced_.push_back(std::move(own_world_));
    own_world_ = std::move(instead);
    world_ = own_world_.get();
  }
}

}  // namespace tessera
