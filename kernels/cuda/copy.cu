// SPDX-License-Identifier: Apache-2.0
// Moving elements. Copies do not look at types: rows of bytes, moved in the widest words that all
// addresses allow. A conversion from f64 rounds once: to odd in f32 first (Boldo & Melquiond,
// "Emulation of FMA and correctly rounded sums"), then to the nearest.
#include "kernels/copy.h"
#include "kernels/cuda/for_each.cuh"

namespace tessera::cuda {
namespace {

template <typename Word>
struct CopyWords {
  Matrix<const Word> in;
  Matrix<Word> out;

  __device__ void operator()(int64_t row, int64_t column, int64_t) const {
    out.row(row)[column] = in.row(row)[column];
  }
};

template <typename Word>
void copy_rows(Stream& stream, const Tensor& in, const Tensor& out) {
  const Shape shape = common_shape({&in, &out});
  for_each<1>(stream, shape.rows,
              shape.columns * size_of(in.dtype()) / static_cast<int64_t>(sizeof(Word)),
              CopyWords<Word>{words<const Word>(in), words<Word>(out)});
}

__device__ float nearest_or_odd(double value) {
  const float near = static_cast<float>(value);
  const double back = near;
  if (near != near || back == value) return near;
  const bool beyond = fabs(back) > fabs(value);
  return float_of((bits_of(near) - (beyond ? 1u : 0u)) | 1u);
}
template <typename To>
__device__ To converted(double value) {
  return narrow<To>(nearest_or_odd(value));
}
template <typename To>
__device__ To converted(float value) {
  return narrow<To>(value);
}
template <>
__device__ float converted<float>(double value) {
  return static_cast<float>(value);
}
template <>
__device__ double converted<double>(float value) {
  return value;
}
__device__ double wide(double value) {
  return value;
}
template <typename From>
__device__ float wide(From value) {
  return widen(value);
}

template <typename From, typename To>
struct Cast {
  static constexpr int kSize = kCommonPack<From, To>;
  Matrix<const From> in;
  Matrix<To> out;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    const From* from = in.row(row) + column;
    To* to = out.row(row) + column;
    if (in.aligned && out.aligned && valid >= kSize) {
      const auto taken = *reinterpret_cast<const Pack<From, kSize>*>(from);
      Pack<To, kSize> given;
#pragma unroll
      for (int i = 0; i < kSize; ++i) given.element[i] = converted<To>(wide(taken.element[i]));
      *reinterpret_cast<Pack<To, kSize>*>(to) = given;
    } else {
      for (int i = 0; i < smaller<int64_t>(kSize, valid); ++i) to[i] = converted<To>(wide(from[i]));
    }
  }
};

template <typename T>
struct Fill {
  static constexpr int kSize = kPack<T>;
  Matrix<T> out;
  T value;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    T* to = out.row(row) + column;
    if (out.aligned && valid >= kSize) {
      Pack<T, kSize> pack;
#pragma unroll
      for (int i = 0; i < kSize; ++i) pack.element[i] = value;
      *reinterpret_cast<Pack<T, kSize>*>(to) = pack;
    } else {
      for (int i = 0; i < smaller<int64_t>(kSize, valid); ++i) to[i] = value;
    }
  }
};

// Through shared memory, so that reads and writes both go along rows.
constexpr int kTile = 32, kTileRows = 8;

template <typename Word>
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_tiles(const Word* in, int64_t in_pitch, Word* out, int64_t out_pitch, int64_t rows,
                    int64_t columns) {
  Word* tile = shared_memory<Word>();  // (kTile, kTile + 1): no two of a column in one bank
  const int64_t left = static_cast<int64_t>(blockIdx.x) * kTile;
  for (int64_t top = static_cast<int64_t>(blockIdx.y) * kTile; top < rows;
       top += static_cast<int64_t>(gridDim.y) * kTile) {
    for (int i = threadIdx.y; i < kTile; i += kTileRows)
      if (top + i < rows && left + threadIdx.x < columns)
        tile[i * (kTile + 1) + threadIdx.x] = in[(top + i) * in_pitch + left + threadIdx.x];
    __syncthreads();
    for (int i = threadIdx.y; i < kTile; i += kTileRows)
      if (left + i < columns && top + threadIdx.x < rows)
        out[(left + i) * out_pitch + top + threadIdx.x] = tile[threadIdx.x * (kTile + 1) + i];
    __syncthreads();
  }
}

template <typename Word>
void transpose_words(Stream& stream, const Tensor& in, const Tensor& out) {
  const dim3 grid(static_cast<unsigned>(divide_up(in.columns(), kTile)),
                  grid_extent(divide_up(in.rows(), kTile)));
  launch(stream, transpose_tiles<Word>, grid, dim3(kTile, kTileRows),
         kTile * (kTile + 1) * sizeof(Word), static_cast<const Word*>(in.data()), in.pitch(),
         static_cast<Word*>(out.data()), out.pitch(), in.rows(), in.columns());
}

// value as T, rounded once.
template <typename T>
T host_value(double value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<T>(value);
  } else {
    float near = static_cast<float>(value);
    if (near == near && static_cast<double>(near) != value) {
      if (std::abs(static_cast<double>(near)) > std::abs(value)) near = std::nextafter(near, 0.0f);
      near = float_of(bits_of(near) | 1u);
    }
    return Narrow<T>::from(near);
  }
}

}  // namespace

void copy(Stream& stream, const Tensor& in, const Tensor& out) {
  const int64_t size = size_of(in.dtype());
  const bool whole = in.contiguous() && out.contiguous();
  uint64_t all = reinterpret_cast<uintptr_t>(in.data()) | reinterpret_cast<uintptr_t>(out.data()) |
                 static_cast<uint64_t>((whole ? in.size() : in.columns()) * size);
  if (!whole)
    all |= static_cast<uint64_t>(in.pitch() * size) | static_cast<uint64_t>(out.pitch() * size);
  if (all % 16 == 0) return copy_rows<Word16>(stream, in, out);
  if (all % 8 == 0) return copy_rows<uint64_t>(stream, in, out);
  if (all % 4 == 0) return copy_rows<uint32_t>(stream, in, out);
  if (all % 2 == 0) return copy_rows<uint16_t>(stream, in, out);
  copy_rows<uint8_t>(stream, in, out);
}

void cast(Stream& stream, const Tensor& in, const Tensor& out) {
  visit(in.dtype(), [&](auto from) {
    visit(out.dtype(), [&](auto to) {
      using From = typename decltype(from)::type;
      using To = typename decltype(to)::type;
      if constexpr (!std::is_integral_v<From> && !std::is_integral_v<To> &&
                    !std::is_same_v<From, To>) {
        const Shape shape = common_shape({&in, &out});
        for_each<Cast<From, To>::kSize>(stream, shape.rows, shape.columns,
                                        Cast<From, To>{matrix<const From>(in), matrix<To>(out)});
      }
    });
  });
}

void fill(Stream& stream, double value, const Tensor& out) {
  visit(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Shape shape = common_shape({&out});
    for_each<kPack<T>>(stream, shape.rows, shape.columns,
                       Fill<T>{matrix<T>(out), host_value<T>(value)});
  });
}

void transpose(Stream& stream, const Tensor& in, const Tensor& out) {
  if (in.size() == 0) return;
  switch (size_of(in.dtype())) {
    case 1: return transpose_words<uint8_t>(stream, in, out);
    case 2: return transpose_words<uint16_t>(stream, in, out);
    case 4: return transpose_words<uint32_t>(stream, in, out);
    default: return transpose_words<uint64_t>(stream, in, out);
  }
}

}  // namespace tessera::cuda
