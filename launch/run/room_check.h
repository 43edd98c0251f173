// SPDX-License-Identifier: Apache-2.0
// Room on the disk for a run's checkpoints, asked for before the first of them.
#pragma once

#include <string>

#include "checkpoint/storage.h"
#include "trainer/recipe.h"

namespace tessera {

// A sentence when `root`, an existing directory, lacks room for the checkpoints that the run will
// keep there, each of `bytes`, and one more: the next is complete before the oldest goes. Empty
// when there is enough.
std::string lack_of_room(Storage& storage, const std::string& root, int64_t bytes,
                         const Recipe& recipe);

}  // namespace tessera
