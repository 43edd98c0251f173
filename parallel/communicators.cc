// SPDX-License-Identifier: Apache-2.0
#include "parallel/communicators.h"

namespace tessera {

Communicators::Communicators(World& world, const ProcessGrid& grid)
    : grid_(grid), world_(&world.all()) {
  check(grid.num_ranks() == world.size(), "Communicators: the grid has", grid.num_ranks(),
        "ranks, the world", world.size());
  for (int axis = 0; axis < kNumAxes; ++axis) {
    const auto which = static_cast<Axis>(axis);
    groups_[static_cast<size_t>(axis)] =
        world.group(grid.ranks_along(which, world.rank()), name(which));
  }
}

Communicators::Communicators() : grid_(GridSizes{}), alone_(self_communicator("world")) {
  world_ = alone_.get();
  for (int axis = 0; axis < kNumAxes; ++axis)
    groups_[static_cast<size_t>(axis)] = self_communicator(name(static_cast<Axis>(axis)));
}

}  // namespace tessera
