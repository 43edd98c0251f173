// SPDX-License-Identifier: Apache-2.0
// A rank holds the layers of its stages and some rows of their parameters. Trainer, the planner and
// reshard all lay a rank out here.
#pragma once

#include <memory>

#include "parallel/pipeline/schedule.h"
#include "trainer/model/build.h"
#include "trainer/recipe.h"

namespace tessera {

// Returns this rank's place among the data ranks that share each stack, dense and of experts.
ZeroSharding zero_sharding(const Recipe& recipe, const Communicators& comms);

// Builds the layers that `plan` places on this rank and lays out context.store, which has no memory
// yet. positions: the longest sequence that will be seen.
std::unique_ptr<Stage> lay_out_rank(const LayerContext& context, const Recipe& recipe,
                                    const Plan& plan, int64_t positions);

}  // namespace tessera
