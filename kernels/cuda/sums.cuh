// SPDX-License-Identifier: Apache-2.0
// Sums and maxima over the threads of a warp, a block or a team, in an order that depends on their
// number alone. Every thread of the warp (block, team) must call, and each gets the result.
//
// A team is the threadIdx.x of one threadIdx.y: the threads that share a row. It is one warp, with
// other rows in the block, or the whole block.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace tessera::cuda {

struct Plus {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {  // a NaN stays: it must be seen
  __device__ float operator()(float a, float b) const { return a != a || a > b ? a : b; }
};

// Lane by lane with its neighbour, then pairs, then fours: both sides add the same two numbers.
template <typename T, typename Operation>
__device__ __forceinline__ T warp_reduce(T value, Operation operation) {
#pragma unroll
  for (int apart = 1; apart < kWarp; apart *= 2)
    value = operation(value, __shfl_xor_sync(kAllLanes, value, apart));
  return value;
}
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
  return warp_reduce(value, Plus{});
}

// scratch: one T for each warp of the block, in shared memory; unused where a team is a warp.
template <typename T, typename Operation>
__device__ __forceinline__ T team_reduce(T value, Operation operation, T neutral, T* scratch) {
  value = warp_reduce(value, operation);
  if (blockDim.x == kWarp) return value;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  __syncthreads();  // the scratch of an earlier call has been read
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  return warp_reduce(lane < static_cast<int>(blockDim.x) / kWarp ? scratch[lane] : neutral,
                     operation);
}
template <typename T>
__device__ __forceinline__ T team_sum(T value, T* scratch) {
  return team_reduce(value, Plus{}, T(0), scratch);
}

// A launch that gives each row a team: a warp for a short row, a block of its own for a long one.
struct Teams {
  dim3 grid, block;
  size_t shared_bytes;  // scratch of one 8-byte number for each warp
};
inline Teams teams(int64_t rows, int64_t columns) {
  constexpr unsigned kThreads = 256;
  constexpr int64_t kShort = 1024;
  const unsigned across = columns <= kShort ? kWarp : kThreads, down = kThreads / across;
  return {dim3(static_cast<unsigned>(divide_up(rows, down))), dim3(across, down),
          kThreads / kWarp * sizeof(double)};
}
__device__ __forceinline__ int64_t team_row() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y;
}

}  // namespace tessera::cuda
