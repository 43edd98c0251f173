// SPDX-License-Identifier: Apache-2.0
// Matrix products on tensor cores: tiles of operands in shared memory, and what a warp does with
// them. T: bf16 or f16; sums in f32. Kept inside kernels/cuda.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace tessera::cuda {

// Rows of 2-byte numbers in shared memory, 8 numbers apart from a multiple of 32 banks, so that the
// eight rows of an 8 x 8 matrix lie in different banks.
template <typename T, int kRowsOf, int kColumnsOf>
struct Tile {
  static constexpr int kRows = kRowsOf, kColumns = kColumnsOf, kPitch = kColumns + 8;
  static constexpr size_t kBytes = sizeof(T) * kRows * kPitch;
  T* data;

  __device__ T* at(int row, int column) const { return data + row * kPitch + column; }
};

// The block of kThreads starts to fill a tile from `rows` rows of `columns` numbers; the rest
// become zeros. aligned: rows start at multiples of 16 bytes.
template <int kThreads, typename T, int kRows, int kColumns>
__device__ __forceinline__ void bring(const Tile<T, kRows, kColumns>& tile, const T* from,
                                      int64_t pitch, int64_t rows, int64_t columns, bool aligned) {
  constexpr int kSome = 8, kAcross = kColumns / kSome;
  for (int i = threadIdx.x; i < kRows * kAcross; i += kThreads) {
    const int row = i / kAcross, column = i % kAcross * kSome;
    const int64_t left = row < rows ? smaller<int64_t>(kSome, columns - column) : 0;
    const int valid = static_cast<int>(larger<int64_t>(0, left));
    const T* source = from + (valid > 0 ? row * pitch + column : 0);
    if (aligned) {
      start_copy(tile.at(row, column), source, valid * static_cast<int>(sizeof(T)));
    } else {
      for (int e = 0; e < kSome; ++e) *tile.at(row, column + e) = e < valid ? source[e] : T{};
    }
  }
}

// Operands of mma() from a tile. left: rows m .. m + 15, depth k .. k + 15. right: two neighbouring
// operands, columns n .. n + 15 of the product, {0, 1} and {2, 3}; the tile's rows are the
// product's columns, or, deep, its depth.
template <typename Tile>
__device__ __forceinline__ void left(uint32_t (&a)[4], const Tile& tile, int m, int k) {
  const int lane = threadIdx.x % kWarp;
  load_matrices(a, tile.at(m + lane % 16, k + lane / 16 * 8));
}
template <typename Tile>
__device__ __forceinline__ void left_deep(uint32_t (&a)[4], const Tile& tile, int m, int k) {
  const int lane = threadIdx.x % kWarp;
  load_transposed(a, tile.at(k + lane % 8 + lane / 16 * 8, m + lane / 8 % 2 * 8));
}
template <typename Tile>
__device__ __forceinline__ void right(uint32_t (&b)[4], const Tile& tile, int k, int n) {
  const int lane = threadIdx.x % kWarp;
  load_matrices(b, tile.at(n + lane % 8 + lane / 16 * 8, k + lane / 8 % 2 * 8));
}
template <typename Tile>
__device__ __forceinline__ void right_deep(uint32_t (&b)[4], const Tile& tile, int k, int n) {
  const int lane = threadIdx.x % kWarp;
  load_transposed(b, tile.at(k + lane % 16, n + lane / 16 * 8));
}

// sum (16, 8 kCount) += rows m .. m + 15 of a times rows of b, both kDepth deep.
template <typename T, int kDepth, int kCount, typename A, typename B>
__device__ __forceinline__ void multiply_rows(float (&sum)[kCount][4], const A& a, int m,
                                              const B& b) {
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    uint32_t x[4], y[4];
    left(x, a, m, k);
#pragma unroll
    for (int n = 0; n < kCount; n += 2) {
      right(y, b, k, n * 8);
      mma<T>(sum[n], x, y[0], y[1]);
      mma<T>(sum[n + 1], x, y[2], y[3]);
    }
  }
}

// sum (16, 8 kCount) += p (16, 8 kDepth) b, p being the result of a product, rounded to T.
template <typename T, int kDepth, int kCount, typename B>
__device__ __forceinline__ void multiply_result(float (&sum)[kCount][4],
                                                const float (&p)[kDepth][4], const B& b) {
#pragma unroll
  for (int k = 0; k < kDepth; k += 2) {
    const uint32_t x[4] = {narrow_pair<T>(p[k][0], p[k][1]), narrow_pair<T>(p[k][2], p[k][3]),
                           narrow_pair<T>(p[k + 1][0], p[k + 1][1]),
                           narrow_pair<T>(p[k + 1][2], p[k + 1][3])};
    uint32_t y[4];
#pragma unroll
    for (int n = 0; n < kCount; n += 2) {
      right_deep(y, b, k * 8, n * 8);
      mma<T>(sum[n], x, y[0], y[1]);
      mma<T>(sum[n + 1], x, y[2], y[3]);
    }
  }
}

template <int kCount>
__device__ __forceinline__ void clear(float (&sum)[kCount][4]) {
#pragma unroll
  for (int n = 0; n < kCount; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) sum[n][e] = 0;
}

// Writes the rows of a product, times `factors` of its two rows, where they exist. paired: two
// neighbours may be written at once.
template <bool kAdd = false, typename T, int kCount>
__device__ __forceinline__ void write_rows(const float (&sum)[kCount][4], const float (&factors)[2],
                                           T* to, int64_t pitch, int64_t rows, int64_t columns,
                                           bool paired) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int n = 0; n < kCount; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane / 4 + half * 8, column = n * 8 + lane % 4 * 2;
      if (row >= rows || column >= columns) continue;
      T* at = to + row * pitch + column;
      float both[2], before[2] = {0, 0};
      const int64_t valid = columns - column;
      if (kAdd) load(at, valid, paired, before);
#pragma unroll
      for (int e = 0; e < 2; ++e) both[e] = before[e] + sum[n][2 * half + e] * factors[half];
      store(at, valid, paired, both);
    }
}

// Whether every element with an even column lies where a pair can be moved at once.
template <typename T>
bool in_pairs(const Matrix<T>& x, int64_t apart) {
  return reinterpret_cast<uintptr_t>(x.data) % (2 * sizeof(T)) == 0 && x.pitch % 2 == 0 &&
         apart % 2 == 0;
}

}  // namespace tessera::cuda
