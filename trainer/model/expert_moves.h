// SPDX-License-Identifier: Apache-2.0
// Experts of one layer from rank to rank, with their optimizer state: nothing is computed, so the
// model stays what it is. Their parameters keep their names; which rank and place a name stands at
// changes.
#pragma once

#include "parallel/communicators.h"
#include "parallel/strategy/expert_placement.h"
#include "trainer/model/parameter.h"

namespace tessera {

// Moves masters and optimizer state of a stack of this rank's experts, equally many rows each, from
// one placement to another; a whole stack is in memory for one of them at a time. The store's
// values are stale until ParameterStore::publish(). Collective over the expert and expert_data
// groups.
void move_experts(Stream& stream, ParameterStore& store, const Communicators& comms, Stack stack,
                  const ExpertPlacement& from, const ExpertPlacement& to);

}  // namespace tessera
