// SPDX-License-Identifier: Apache-2.0
// Kernels in which elements have nothing to do with each other: for_each() hands out a matrix in
// packs of neighbouring elements, one pack to a thread.
//   struct Body { void operator()(int64_t row, int64_t column, int64_t valid) const; };
// works on elements [column, column + min(valid, kPackSize)) of the row.
#pragma once

#include <initializer_list>

#include "kernels/cuda/launch.cuh"

namespace tessera::cuda {

inline constexpr int kForEachThreads = 256;

template <int kPackSize, typename Body>
__global__ void __launch_bounds__(kForEachThreads)
    for_each_pack(int64_t rows, int64_t columns, Body body) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kPackSize;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x * kPackSize;
  for (int64_t row = static_cast<int64_t>(blockIdx.y) * blockDim.y + threadIdx.y; row < rows;
       row += static_cast<int64_t>(gridDim.y) * blockDim.y)
    for (int64_t column = first; column < columns; column += step)
      body(row, column, columns - column);
}

template <int kPackSize, typename Body>
void for_each(Stream& stream, int64_t rows, int64_t columns, const Body& body) {
  if (rows == 0 || columns == 0) return;
  const int64_t packs = divide_up(columns, kPackSize);
  unsigned across = 1;
  while (across < kForEachThreads && across < packs) across *= 2;
  const unsigned down = kForEachThreads / across;
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(divide_up(packs, across), 1 << 20)),
                  grid_extent(divide_up(rows, down)));
  launch(stream, for_each_pack<kPackSize, Body>, grid, dim3(across, down), 0, rows, columns, body);
}

// What all these tensors, equal in shape, can be seen as: one row where none has a pitch.
struct Shape {
  int64_t rows, columns;
};
inline Shape common_shape(std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  for (const Tensor* tensor : tensors)
    if (!tensor->contiguous()) return {first.rows(), first.columns()};
  return {1, first.size()};
}

// Elements of a pack that fills 16 bytes of the wider type.
template <typename A, typename B = A>
inline constexpr int kCommonPack = 16 / (sizeof(A) > sizeof(B) ? sizeof(A) : sizeof(B));

}  // namespace tessera::cuda
