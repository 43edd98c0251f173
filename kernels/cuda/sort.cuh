// SPDX-License-Identifier: Apache-2.0
// A stable sort of (key, value) pairs on the device: CUB's radix sort.
#pragma once

#include <cstdint>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera::cuda {

// keys, values, sorted_keys, sorted_values: (count) i32, no two of them the same. Keys from 0 to
// largest_key.
void sort_pairs(Stream& stream, const Tensor& keys, const Tensor& values, int64_t largest_key,
                const Tensor& sorted_keys, const Tensor& sorted_values);

// out[i] = i.
void count_up(Stream& stream, const Tensor& out);

}  // namespace tessera::cuda
