// SPDX-License-Identifier: Apache-2.0
// One launch over a list of things of any sizes: each is cut into tiles, and tiles are counted
// through all of them. The list goes to the kernel by value, among its arguments, so that nothing
// is uploaded and a graph may record it; a longer list is several launches.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace tessera::cuda {

inline constexpr size_t kMostArgumentBytes = 4096;  // of a kernel, on every driver

template <int kMost>
struct TileList {
  int count = 0;
  int32_t first[kMost + 1] = {};  // tile of each thing; first[count]: how many tiles there are

  void add(int64_t tiles) {
    const int64_t end = first[count] + tiles;
    check(count < kMost && end <= INT32_MAX, "cuda: a list of", count + 1, "has tiles", end);
    first[++count] = static_cast<int32_t>(end);
  }
  __host__ __device__ int64_t count_tiles() const { return first[count]; }

  // What `tile` is of: first[which] <= tile < first[which + 1]. Search once a tile, not once an
  // element.
  __device__ int find(int64_t tile) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= tile)
        low = middle;
      else
        high = middle;
    }
    return low;
  }
};

}  // namespace tessera::cuda
