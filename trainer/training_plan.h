// SPDX-License-Identifier: Apache-2.0
// From a recipe to the plan its pipelines run: one place for the trainer, `tessera plan` and the
// checks of a recipe.
#pragma once

#include <map>

#include "parallel/pipeline/schedule.h"
#include "parallel/process_grid.h"
#include "trainer/model/build.h"
#include "trainer/recipe.h"

namespace tessera {

// The recipe's layout; `data` is left to the number of ranks.
GridSizes grid_sizes(const ParallelOptions& parallel);
// The ranks that the recipe names; `data: auto` counts as 1.
int ranks_of(const ParallelOptions& parallel);

// F, B and W alone, as the schedule orders them. Throws Error{usage} that says which numbers of
// microbatches or chunks are allowed; a schedule `file:PATH` is read and checked.
Plan compute_plan(const ParallelOptions& parallel, int num_micro);
// The layout with the schedule that a step of so many microbatches runs: parallel.schedule, or
// batch.ramp.schedule where it cannot be made of so many.
ParallelOptions layout_of_step(const Recipe& recipe, int num_micro);
// The same with messages and, for ZeRO-3, gathers: what every rank of a pipeline runs.
Plan training_plan(const Recipe& recipe, int num_micro);
// One for each number of microbatches that a step of the run can have. All place the stages alike.
std::map<int, Plan> training_plans(const Recipe& recipe, int data_ranks);
// Forward passes alone over the placement of `training`.
Plan evaluation_plan(const ParallelOptions& parallel, const Plan& training, int num_micro);

// The blocks of each stage: the recipe's list, or as even as can be, the earlier stages having one
// more (the last one has the head); those of multi-token prediction count as the last stage's.
// Throws Error{capacity} when a list does not add up.
std::vector<int64_t> deal_layers(const Recipe& recipe, int num_stages);
// Layers take these options of a recipe. positions: the longest sequence that will be seen.
StageOptions stage_options(const Recipe& recipe, int64_t positions);
// Which stages of the model the pipeline coordinate's chunks are.
StagePlacement placement_of(const Recipe& recipe, const Plan& plan, int coordinate);

}  // namespace tessera
