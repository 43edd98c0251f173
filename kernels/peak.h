// SPDX-License-Identifier: Apache-2.0
// What this machine could do at best, measured in a moment: the denominators of every efficiency
// that Tessera reports. Both are the best of several short repetitions, because other programs can
// only make a repetition slower.
#pragma once

#include "kernels/base/dtype.h"

namespace tessera {

// Floating-point operations per second of `threads` threads that multiply and add in registers
// with the instructions that a gemm of this type uses on the path in use. About 40 ms.
double measure_peak_flops(DType compute_type, int threads);

// Bytes per second of an AdamW-shaped pass (four arrays read, three written) over memory that no
// cache holds. About 100 ms and 256 MiB.
double measure_bandwidth(int threads);

}  // namespace tessera
