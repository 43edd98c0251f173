// SPDX-License-Identifier: Apache-2.0
// Finds infinities and NaN while a checksum is computed, so that memory is read once. Pure.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace tessera {

// crc32c() of `bytes` bytes of elements of `dtype`. Sets `finite` to false when one of them is
// infinite or not a number, else leaves it as it is; integers are always finite.
uint32_t crc32c_finite(const void* data, int64_t bytes, DType dtype, bool& finite);

}  // namespace tessera
