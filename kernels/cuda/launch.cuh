// SPDX-License-Identifier: Apache-2.0
// How a kernel is started, and how it finds its elements: launch() and Matrix. A kernel's result
// never depends on the grid's schedule: no floating-point atomics, and sums in an order that
// follows from shapes alone. Kernels do not contain `<<<>>>`, so that a plain C++ compiler reads
// them, too (tests/support/cuda_on_host/).
#pragma once

#include <algorithm>
#include <cstdint>

#include <cuda_runtime.h>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "kernels/cuda/arch.cuh"
#include "kernels/cuda/native.h"

namespace tessera::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

template <typename A, typename B>
__host__ __device__ constexpr int64_t divide_up(A a, B b) {
  return (static_cast<int64_t>(a) + static_cast<int64_t>(b) - 1) / static_cast<int64_t>(b);
}
template <typename A>
__host__ __device__ constexpr A smaller(A a, A b) {
  return b < a ? b : a;
}
template <typename A>
__host__ __device__ constexpr A larger(A a, A b) {
  return a < b ? b : a;
}

// At most 65535, which is all that a grid has in y and z: kernels stride over the rest.
inline unsigned grid_extent(int64_t blocks) {
  return static_cast<unsigned>(std::clamp<int64_t>(blocks, 1, 65535));
}

// Queues a kernel; an empty grid is nothing to do. shared_bytes: what shared_memory() gives in it.
template <typename... Expected, typename... Actual>
void launch(Stream& stream, void (*kernel)(Expected...), dim3 grid, dim3 block, size_t shared_bytes,
            Actual&&... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  constexpr size_t kSharedWithoutAsking = 48 << 10;
  if (shared_bytes > kSharedWithoutAsking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute");
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = native(stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Expected>(arguments)...), "launch");
}

// Rows of a tensor as a kernel sees them.
template <typename T>
struct Matrix {
  T* data;
  int64_t pitch;
  bool aligned;  // every row starts at a multiple of 16 bytes

  __device__ T* row(int64_t index) const { return data + index * pitch; }
};

// Factors, maybe none (kernels/arguments.h).
struct Factors {
  const double* data;
  int64_t count;

  __device__ double product() const {
    double product = 1;
    for (int64_t i = 0; i < count; ++i) product *= data[i];
    return product;
  }
};
inline Factors factors(const Tensor& x) {
  return x.empty() ? Factors{nullptr, 0} : Factors{x.as<double>(), x.size()};
}

// The same elements as words of another size, a divisor of a row's bytes and its distance.
template <typename Word>
Matrix<Word> words(const Tensor& x) {
  const int64_t pitch = x.pitch() * size_of(x.dtype());
  const bool aligned =
      reinterpret_cast<uintptr_t>(x.data()) % 16 == 0 && (x.rows() <= 1 || pitch % 16 == 0);
  return {static_cast<Word*>(x.data()), pitch / static_cast<int64_t>(sizeof(Word)), aligned};
}
template <typename T>
Matrix<T> matrix(const Tensor& x) {
  check(x.dtype() == dtype_of<std::remove_const_t<T>>(), "cuda: elements of another type than",
        tessera::name(x.dtype()));
  return words<T>(x);
}

// 16 bytes that are moved at once.
struct alignas(16) Word16 {
  uint64_t bits[2];
};

// N neighbouring elements, moved by as few accesses as their alignment allows.
template <typename T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T element[N];
};

// Elements of the widest vector access: a thread's share of a row in every kernel, also where rows
// are not aligned, so that alignment changes no order of summation.
template <typename T>
inline constexpr int kPack = 16 / sizeof(T);

// The first `valid` of N elements; the rest are zeros.
template <int N, typename T>
__device__ __forceinline__ void load(const T* from, int64_t valid, bool aligned, float (&to)[N]) {
  if (aligned && valid >= N) {
    const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(from);
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = widen(pack.element[i]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) to[i] = i < valid ? widen(from[i]) : 0.0f;
  }
}
template <int N, typename T>
__device__ __forceinline__ void store(T* to, int64_t valid, bool aligned, const float (&from)[N]) {
  if (aligned && valid >= N) {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.element[i] = narrow<T>(from[i]);
    *reinterpret_cast<Pack<T, N>*>(to) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (i < valid) to[i] = narrow<T>(from[i]);
  }
}

// Calls function(TypeTag<T>{}) with T = float, bf16 or f16, what this device computes in.
template <typename Function>
void with_type(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::f32: return function(TypeTag<float>{});
    case DType::bf16: return function(TypeTag<bf16>{});
    case DType::f16: return function(TypeTag<f16>{});
    default: fail(ErrorKind::internal, "cuda: does not compute in", tessera::name(dtype));
  }
}

}  // namespace tessera::cuda
