// SPDX-License-Identifier: Apache-2.0
// The speed that all ranks' devices could reach together, which MFU is a share of.
#pragma once

#include "launch/run/train_job.h"

namespace tessera {

// Collective. The result is in FLOP/s. CPUs are measured, by all ranks at the same time; GPUs go by
// their data sheets, each counted once. 0 where it is not known, and on the reference device, whose
// speed is of no interest.
double peak_flops_of_all(const TrainJob& job);

}  // namespace tessera
