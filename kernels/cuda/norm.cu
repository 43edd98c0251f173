// SPDX-License-Identifier: Apache-2.0
// RMSNorm: a team of threads to a row (sums.cuh), which it reads twice, the second time from the
// cache. The weight's gradient in two passes: blocks of kBlockRows rows, then the blocks in order.
#include "kernels/cuda/sums.cuh"
#include "kernels/norm.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    normalize(Matrix<const T> x, Matrix<const T> weight, float epsilon, int64_t rows,
              int64_t columns, Matrix<T> y, float* inv_rms) {
  const int64_t row = team_row();
  if (row >= rows) return;
  const int step = blockDim.x * kPack<T>;
  float in[kPack<T>], w[kPack<T>], squares = 0;
  for (int64_t c = threadIdx.x * kPack<T>; c < columns; c += step) {
    load(x.row(row) + c, columns - c, x.aligned, in);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) squares += in[i] * in[i];
  }
  squares = team_sum(squares, shared_memory<float>());
  const float inv = 1.0f / sqrtf(squares / static_cast<float>(columns) + epsilon);
  if (threadIdx.x == 0) inv_rms[row] = inv;
  for (int64_t c = threadIdx.x * kPack<T>; c < columns; c += step) {
    load(x.row(row) + c, columns - c, x.aligned, in);
    load(weight.data + c, columns - c, weight.aligned, w);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) in[i] = in[i] * inv * w[i];
    store(y.row(row) + c, columns - c, y.aligned, in);
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    backward_input(Matrix<const T> x, Matrix<const T> weight, const float* inv_rms,
                   Matrix<const T> dy, int64_t rows, int64_t columns, Matrix<T> dx) {
  const int64_t row = team_row();
  if (row >= rows) return;
  const int step = blockDim.x * kPack<T>;
  const float inv = inv_rms[row];
  float in[kPack<T>], w[kPack<T>], g[kPack<T>], dot = 0;
  for (int64_t c = threadIdx.x * kPack<T>; c < columns; c += step) {
    load(x.row(row) + c, columns - c, x.aligned, in);
    load(weight.data + c, columns - c, weight.aligned, w);
    load(dy.row(row) + c, columns - c, dy.aligned, g);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) dot += g[i] * w[i] * (in[i] * inv);
  }
  const float mean = team_sum(dot, shared_memory<float>()) / static_cast<float>(columns);
  for (int64_t c = threadIdx.x * kPack<T>; c < columns; c += step) {
    load(x.row(row) + c, columns - c, x.aligned, in);
    load(weight.data + c, columns - c, weight.aligned, w);
    load(dy.row(row) + c, columns - c, dy.aligned, g);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) in[i] = inv * (g[i] * w[i] - in[i] * inv * mean);
    store(dx.row(row) + c, columns - c, dx.aligned, in);
  }
}

// The first pass: a block sums kBlockRows rows of kWarp packs of columns. Warp w takes rows w,
// w + kWarps, ...; the warps' sums are added in their order.
constexpr int kBlockRows = 128, kWarps = kThreads / kWarp;

template <typename T>
__global__ void __launch_bounds__(kThreads)
    partial_sums(Matrix<const T> x, const float* inv_rms, Matrix<const T> dy, int64_t rows,
                 int64_t columns, float* partials) {
  constexpr int kColumns = kWarp * kPack<T>;
  float* sums = shared_memory<float>();  // (kWarps, kColumns)
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x * kPack<T>;
  for (int64_t block = blockIdx.y; block * kBlockRows < rows; block += gridDim.y) {
    float sum[kPack<T>] = {}, in[kPack<T>], g[kPack<T>];
    const int64_t end = smaller(rows, (block + 1) * kBlockRows);
    for (int64_t row = block * kBlockRows + threadIdx.y; row < end && column < columns;
         row += kWarps) {
      load(x.row(row) + column, columns - column, x.aligned, in);
      load(dy.row(row) + column, columns - column, dy.aligned, g);
      const float inv = inv_rms[row];
#pragma unroll
      for (int i = 0; i < kPack<T>; ++i) sum[i] += g[i] * (in[i] * inv);
    }
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i)
      sums[threadIdx.y * kColumns + i * kWarp + threadIdx.x] = sum[i];
    __syncthreads();
    for (int i = threadIdx.y; i < kPack<T>; i += kWarps) {
      float all = 0;
      for (int warp = 0; warp < kWarps; ++warp)
        all += sums[warp * kColumns + i * kWarp + threadIdx.x];
      if (column + i < columns) partials[block * columns + column + i] = all;
    }
    __syncthreads();
  }
}

__global__ void __launch_bounds__(kThreads)
    add_partials(const float* partials, int64_t blocks, int64_t columns, float* dweight) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (column >= columns) return;
  float sum = 0;
  for (int64_t block = 0; block < blocks; ++block) sum += partials[block * columns + column];
  dweight[column] += sum;
}

}  // namespace

void rms_norm(Stream& stream, const Tensor& x, const Tensor& weight, double epsilon,
              const Tensor& y, const Tensor& inv_rms) {
  if (x.size() == 0) return;
  with_type(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Teams at = teams(x.rows(), x.columns());
    launch(stream, normalize<T>, at.grid, at.block, at.shared_bytes, matrix<const T>(x),
           matrix<const T>(weight), static_cast<float>(epsilon), x.rows(), x.columns(),
           matrix<T>(y), inv_rms.as<float>());
  });
}

void rms_norm_backward_input(Stream& stream, const Tensor& x, const Tensor& weight,
                             const Tensor& inv_rms, const Tensor& dy, const Tensor& dx) {
  if (x.size() == 0) return;
  with_type(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Teams at = teams(x.rows(), x.columns());
    launch(stream, backward_input<T>, at.grid, at.block, at.shared_bytes, matrix<const T>(x),
           matrix<const T>(weight), inv_rms.as<float>(), matrix<const T>(dy), x.rows(), x.columns(),
           matrix<T>(dx));
  });
}

void rms_norm_backward_weight(Stream& stream, const Tensor& x, const Tensor& inv_rms,
                              const Tensor& dy, const Tensor& dweight) {
  if (x.size() == 0) return;
  with_type(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kColumns = kWarp * kPack<T>;
    const int64_t blocks = divide_up(x.rows(), kBlockRows), columns = x.columns();
    const Tensor partials(stream.device(), DType::f32, {blocks, columns}, MemoryClass::other);
    const dim3 grid(static_cast<unsigned>(divide_up(columns, kColumns)), grid_extent(blocks));
    launch(stream, partial_sums<T>, grid, dim3(kWarp, kWarps), kWarps * kColumns * sizeof(float),
           matrix<const T>(x), inv_rms.as<float>(), matrix<const T>(dy), x.rows(), columns,
           partials.as<float>());
    launch(stream, add_partials, dim3(static_cast<unsigned>(divide_up(columns, kThreads))),
           dim3(kThreads), 0, partials.as<float>(), blocks, columns, dweight.as<float>());
  });
}

}  // namespace tessera::cuda
