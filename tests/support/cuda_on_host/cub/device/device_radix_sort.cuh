// SPDX-License-Identifier: Apache-2.0
// A stand-in for CUB's stable sort of pairs, on the host.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "cuda_runtime.h"

namespace cub {

struct DeviceRadixSort {
  // As CUB: with scratch == nullptr only the size is told. Bits beyond end_bit do not count.
  template <typename Key, typename Value>
  static cudaError_t SortPairs(void* scratch, size_t& scratch_bytes, const Key* keys,
                               Key* sorted_keys, const Value* values, Value* sorted_values,
                               int count, int begin_bit, int end_bit, cudaStream_t) {
    if (scratch == nullptr) {
      scratch_bytes = 1;
      return cudaSuccess;
    }
    const auto digits = [&](int i) {
      const uint64_t bits = static_cast<uint64_t>(static_cast<std::make_unsigned_t<Key>>(keys[i]));
      return (bits & ((uint64_t{1} << end_bit) - 1)) >> begin_bit;
    };
    std::vector<int> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return digits(a) < digits(b); });
    for (size_t i = 0; i < order.size(); ++i) {
      sorted_keys[i] = keys[order[i]];
      sorted_values[i] = values[order[i]];
    }
    return cudaSuccess;
  }
};

}  // namespace cub
