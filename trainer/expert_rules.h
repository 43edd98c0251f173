// SPDX-License-Identifier: Apache-2.0
// What validate() asks of the expert grid {expert_data, expert, expert_tensor}, which has the same
// ranks as the dense one (parallel/process_grid.h).
#pragma once

#include "trainer/problems.h"

namespace tessera {

// `data` ranks along the data axis; 0: not known yet, so that only the model's sizes are looked at.
void check_expert_grid(const Recipe& recipe, int64_t data, Problems& problems);

}  // namespace tessera
