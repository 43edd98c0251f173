// SPDX-License-Identifier: Apache-2.0
// What a GPU could compute at best, by the name that its driver gives: the denominator of MFU. No
// program reaches it (a plain product gets to about 80 %), but all papers divide by it.
#pragma once

#include <string>

#include "kernels/base/dtype.h"

namespace tessera {

// Floating-point operations per second of dense products on tensor cores. 0: not known, also for
// f32 without `tf32`, which uses none.
double published_peak_flops(const std::string& device_name, DType dtype, bool tf32 = false);

}  // namespace tessera
