// SPDX-License-Identifier: Apache-2.0
// What verbs that run on all ranks of a job share: the World around them, errors that all ranks
// leave with in order, and the exit code.
#pragma once

#include <functional>

#include "launch/recipe/reader.h"
#include "parallel/world.h"

namespace tessera {

// Runs `body` on every rank. When it fails on any, all throw RecipeFailure, and rank 0 alone has
// the words: one message, and an orderly end with its exit code.
void in_agreement(World& world, const char* what, const std::function<void()>& body);

LoadedRecipe load_together(World& world, const std::string& path,
                           const std::vector<std::string>& overrides, int num_ranks);

// Makes the World, sets the console (rank 0 speaks; verbosity as in TrainCommand), runs `body` and
// returns its exit code, or that of its error. An error that is not agreed on ends the whole job.
int run_in_world(int verbosity, const std::function<int(World&)>& body);

}  // namespace tessera
