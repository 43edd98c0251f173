// SPDX-License-Identifier: Apache-2.0
// A stand-in for CUDA's <cuda_runtime.h>: as much of the language and of the runtime as our kernels
// use, on the host (fibers.h). Device memory is the host's. Everything is done when a call returns.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "fibers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

// The runtime.
using cudaStream_t = struct CUstream_st*;
enum cudaError_t { cudaSuccess = 0 };
enum cudaMemcpyKind { cudaMemcpyDeviceToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

inline const char* cudaGetErrorString(cudaError_t) {
  return "no error";
}
inline cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind,
                                   cudaStream_t) {
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
template <typename Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};
template <typename... Expected, typename... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...),
                               Actual&&... arguments) {
  cuda_on_host::run(config->gridDim, config->blockDim, config->dynamicSmemBytes,
                    [&] { kernel(static_cast<Expected>(arguments)...); });
  return cudaSuccess;
}

// What threads of a block do together.
inline void __syncthreads() {
  cuda_on_host::synchronize_block();
}
inline void __syncwarp(unsigned = ~0u) {
  cuda_on_host::exchange(cuda_on_host::Kind::barrier, nullptr, 0);
}
template <typename T>
T __shfl_sync(unsigned, T value, int from) {
  const std::byte* all = cuda_on_host::exchange(cuda_on_host::Kind::shuffle, &value, sizeof value);
  std::memcpy(&value, all + static_cast<size_t>(from & 31) * cuda_on_host::kMostExchanged,
              sizeof value);
  return value;
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return __shfl_sync(mask, value, cuda_on_host::lane() ^ bits);
}
inline unsigned __ballot_sync(unsigned, int predicate) {
  const int mine = predicate != 0;
  const std::byte* all = cuda_on_host::exchange(cuda_on_host::Kind::vote, &mine, sizeof mine);
  unsigned votes = 0;
  for (size_t lane = 0; lane < cuda_on_host::kWarp; ++lane) {
    int vote = 0;
    std::memcpy(&vote, all + lane * cuda_on_host::kMostExchanged, sizeof vote);
    votes |= static_cast<unsigned>(vote) << lane;
  }
  return votes;
}

// Fibers do not interrupt each other.
template <typename T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  const T before = *at;
  *at += value;
  return before;
}

// A product that no addition may be fused into.
inline double __dmul_rn(double a, double b) {
  return a * b;
}
