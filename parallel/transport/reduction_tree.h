// SPDX-License-Identifier: Apache-2.0
// The one way floating-point numbers are reduced over ranks: a pairwise tree in rank order,
//   level 0: (r0 + r1), (r2 + r3), ... ; an odd one out is carried up; partial sums in f32
// (f64 for f64; integers exactly), one rounding at the end. Pure arithmetic on host memory.
#pragma once

#include <vector>

#include "kernels/base/dtype.h"
#include "parallel/communicator.h"

namespace tessera {

// out[i] = reduction over p of parts[p][i], i < count. Parts are of dtype `in`, out of dtype `out`
// (equal to `in`, or accumulation_type(in)). out may be one of the parts.
void reduce_tree(const std::vector<const void*>& parts, DType in, void* out, DType out_dtype,
                 int64_t count, Reduce op);

}  // namespace tessera
