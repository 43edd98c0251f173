// SPDX-License-Identifier: Apache-2.0
// Rotary embedding in place: a thread turns one pack of pairs of one head. With the halves split, a
// pack is neighbours in each half; interleaved, neighbours in the row.
#include "kernels/cuda/for_each.cuh"
#include "kernels/rope.h"

namespace tessera::cuda {
namespace {

// for_each over (rows, heads * pairs): column = head * pairs + pair, kSize pairs at a time where
// pairs are a multiple of it, else one.
template <typename T, int kSize>
struct Turn {
  Matrix<T> x;
  const int32_t* positions;
  Matrix<const float> table;
  int64_t head_dim, offset;
  int pairs;
  bool interleaved;
  float sign;

  __device__ void operator()(int64_t row, int64_t column, int64_t) const {
    const int head = static_cast<int>(column) / pairs, pair = static_cast<int>(column) % pairs;
    const float* cosines = table.row(positions[row]) + pair;
    T* part = x.row(row) + head * head_dim + offset;
    if (interleaved)
      turn(part + 2 * pair, part + 2 * pair + 1, 2, cosines);
    else
      turn(part + pair, part + pairs + pair, 1, cosines);
  }

  __device__ void turn(T* first, T* second, int apart, const float* cosines) const {
#pragma unroll
    for (int i = 0; i < kSize; ++i) {
      const float c = cosines[i], s = sign * cosines[pairs + i];
      const float a = widen(first[i * apart]), b = widen(second[i * apart]);
      first[i * apart] = narrow<T>(a * c - b * s);
      second[i * apart] = narrow<T>(b * c + a * s);
    }
  }
};

template <typename T, int kSize>
void turn_all(Stream& stream, const Rope& rope, const Tensor& positions, const Tensor& table,
              const Tensor& x) {
  const int pairs = rope.rotary_dim / 2;
  for_each<kSize>(
      stream, x.rows(), int64_t{rope.num_heads} * pairs,
      Turn<T, kSize>{matrix<T>(x), positions.as<int32_t>(), matrix<const float>(table),
                     rope.head_dim, rope.offset, pairs, rope.pairing == RopePairing::interleaved,
                     rope.inverse ? -1.0f : 1.0f});
}

}  // namespace

void rope(Stream& stream, const Rope& rope, const Tensor& positions, const Tensor& table,
          const Tensor& x) {
  with_type(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int kSome = 4;
    if (rope.rotary_dim % (2 * kSome) == 0)
      turn_all<T, kSome>(stream, rope, positions, table, x);
    else
      turn_all<T, 1>(stream, rope, positions, table, x);
  });
}

}  // namespace tessera::cuda
