// SPDX-License-Identifier: Apache-2.0
// The first lines of a training run on the console: program, layout, model, memory, data, device.
#pragma once

#include "launch/run/train_job.h"
#include "trainer/trainer.h"

namespace tessera {

// Writes the lines. The text of validation is measured with xz on the way, for job.data.
void tell_opening_lines(TrainJob& job, const Trainer& trainer);

}  // namespace tessera
