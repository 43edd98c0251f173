// SPDX-License-Identifier: Apache-2.0
// This rank's group along every axis of the grid, and the group of all ranks. Made once from the
// World and the grid, collectively; passed explicitly to whoever communicates.
#pragma once

#include <array>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/process_grid.h"
#include "parallel/world.h"

namespace tessera {

class Communicators {
 public:
  Communicators(World& world, const ProcessGrid& grid);
  // Groups of one for every axis: a single process without MPI (tools, tests).
  Communicators();

  const ProcessGrid& grid() const { return grid_; }
  int rank() const { return world_->rank(); }  // in the world
  Communicator& world() const { return *world_; }
  Communicator& along(Axis axis) const { return *groups_[static_cast<size_t>(axis)]; }
  Communicator& data() const { return along(Axis::data); }

 private:
  ProcessGrid grid_;
  Communicator* world_;
  std::array<std::unique_ptr<Communicator>, kNumAxes> groups_;
  std::unique_ptr<Communicator> alone_;
};

}  // namespace tessera
