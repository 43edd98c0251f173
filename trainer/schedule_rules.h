// SPDX-License-Identifier: Apache-2.0
// The rules of validate() for what changes during a run: its length, the learning rate, the ramp of
// the batch and the switch points of the router and of multi-token prediction.
#pragma once

#include "trainer/problems.h"

namespace tessera {

void check_schedules(const Recipe& recipe, Problems& problems);

// The ramp alone; false when its sizes cannot be told.
bool check_ramp(const BatchOptions& batch, Problems& problems);

}  // namespace tessera
