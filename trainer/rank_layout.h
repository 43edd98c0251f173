// SPDX-License-Identifier: Apache-2.0
// What one rank holds: the layers of its stages, and which rows of their parameters. Trainer, the
// planner and reshard all lay a rank out here.
#pragma once

#include <memory>

#include "parallel/pipeline/schedule.h"
#include "trainer/model/build.h"
#include "trainer/recipe.h"

namespace tessera {

// What this rank has of each stack, of the data ranks of the stack's group.
ZeroSharding zero_sharding(const Recipe& recipe, const Communicators& comms);

// Builds the layers that `plan` places on this rank and lays out context.store, which has no memory
// yet. positions: the longest sequence that will be seen.
std::unique_ptr<Stage> lay_out_rank(const LayerContext& context, const Recipe& recipe,
                                    const Plan& plan, int64_t positions);

}  // namespace tessera
