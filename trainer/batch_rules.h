// SPDX-License-Identifier: Apache-2.0
// The rules of validate() for a layout and the sequences of a step: whole microbatches on every
// data rank, as many as the pipeline's schedule allows, for each size that a step of the run can
// have.
#pragma once

#include "trainer/problems.h"

namespace tessera {

// data: ranks of the data axis. REQUIRES positive sizes of batch and layout.
void check_batches(const Recipe& recipe, int64_t data, Problems& problems);

}  // namespace tessera
