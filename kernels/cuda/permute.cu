// SPDX-License-Identifier: Apache-2.0
// Rows of tokens to their experts and back. The sort is a radix sort of (place, slot), stable, so
// slots of one place stay in increasing order.
#include "kernels/copy.h"
#include "kernels/cuda/for_each.cuh"
#include "kernels/cuda/sort.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/permute.h"

namespace tessera::cuda {
decltype(tessera::fill) fill;
namespace {

constexpr int kThreads = 256;

struct Places {
  Matrix<const int32_t> index;
  uint32_t slots_of_row;
  const int32_t* place_of_expert;
  int32_t* places;

  __device__ void operator()(int64_t, int64_t slot, int64_t) const {
    const auto number = static_cast<uint32_t>(slot);
    const int32_t expert = index.row(number / slots_of_row)[number % slots_of_row];
    places[slot] = place_of_expert[expert];
  }
};

// Where each slot went, and, from whoever is the first of a place, where that place begins, and
// with it the empty ones before; the last one ends all that are left.
struct Positions {
  const int32_t *slots, *places;  // sorted
  uint32_t slots_of_row;
  Matrix<int32_t> position;
  int64_t* offsets;
  int32_t num_places;

  __device__ void operator()(int64_t, int64_t i, int64_t valid) const {
    const auto slot = static_cast<uint32_t>(slots[i]);
    position.row(slot / slots_of_row)[slot % slots_of_row] = static_cast<int32_t>(i);
    begin_places(i == 0 ? -1 : places[i - 1], places[i], i);
    if (valid == 1) begin_places(places[i], num_places, i + 1);
  }
  __device__ void begin_places(int32_t after, int32_t upto, int64_t here) const {
    for (int32_t place = after + 1; place <= upto; ++place) offsets[place] = here;
  }
};

// Types do not matter: Word has the size of an element.
template <typename Word>
struct Gather {
  static constexpr int kSize = kPack<Word>;
  Matrix<const Word> x;
  const int32_t* rows;
  uint32_t divisor;
  Matrix<Word> out;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    const Word* from = x.row(static_cast<uint32_t>(rows[row]) / divisor) + column;
    Word* to = out.row(row) + column;
    if (x.aligned && out.aligned && valid >= kSize) {
      *reinterpret_cast<Pack<Word, kSize>*>(to) = *reinterpret_cast<const Pack<Word, kSize>*>(from);
    } else {
#pragma unroll 1
      for (int i = 0; i < kSize; ++i)
        if (i < valid) to[i] = from[i];
    }
  }
};

template <typename Word>
void gather(Stream& stream, const Tensor& x, const Tensor& rows, int64_t divisor,
            const Tensor& out) {
  for_each<kPack<Word>>(stream, out.rows(), out.columns(),
                        Gather<Word>{words<const Word>(x), rows.as<int32_t>(),
                                     static_cast<uint32_t>(divisor), words<Word>(out)});
}

template <typename T>
struct Combine {
  Matrix<const T> y;
  Matrix<const int32_t> position;
  Matrix<const float> weights;  // data may be null: ones
  int slots;
  Matrix<T> out;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    float sum[kPack<T>] = {}, x[kPack<T>];
    for (int slot = 0; slot < slots; ++slot) {
      const float weight = weights.data == nullptr ? 1.0f : weights.row(row)[slot];
      load(y.row(position.row(row)[slot]) + column, valid, y.aligned, x);
#pragma unroll
      for (int i = 0; i < kPack<T>; ++i) sum[i] += weight * x[i];
    }
    store(out.row(row) + column, valid, out.aligned, sum);
  }
};

template <typename T>
__global__ void __launch_bounds__(kThreads) weigh(const float* weights, Matrix<T> g, Matrix<T> h,
                                                  int64_t rows, int64_t columns, float* dweights) {
  const int64_t row = team_row();
  if (row >= rows) return;
  const float weight = weights[row];
  float sum = 0, a[kPack<T>], b[kPack<T>];
  for (int64_t c = threadIdx.x * kPack<T>; c < columns; c += blockDim.x * kPack<T>) {
    load(g.row(row) + c, columns - c, g.aligned, a);
    load(h.row(row) + c, columns - c, h.aligned, b);
#pragma unroll
    for (int i = 0; i < kPack<T>; ++i) {
      sum += a[i] * b[i];
      a[i] *= weight;
      b[i] *= weight;
    }
    store(g.row(row) + c, columns - c, g.aligned, a);
    store(h.row(row) + c, columns - c, h.aligned, b);
  }
  sum = team_sum(sum, shared_memory<float>());
  if (threadIdx.x == 0) dweights[row] = sum;
}

}  // namespace

void sort_slots(Stream& stream, const Tensor& index, const Tensor& place_of_expert,
                const Tensor& slots, const Tensor& position, const Tensor& offsets) {
  const int64_t size = index.size(), places = place_of_expert.size();
  if (size == 0) return cuda::fill(stream, 0, offsets);
  const Tensor scratch(stream.device(), DType::i32, {3, size}, MemoryClass::other);
  const Tensor place = scratch.row_slice(0, 1), slot = scratch.row_slice(1, 1),
               sorted = scratch.row_slice(2, 1);
  for_each<1>(stream, 1, size,
              Places{matrix<const int32_t>(index), static_cast<uint32_t>(index.columns()),
                     place_of_expert.as<int32_t>(), place.as<int32_t>()});
  count_up(stream, slot);
  sort_pairs(stream, place, slot, places - 1, sorted, slots);
  for_each<1>(
      stream, 1, size,
      Positions{slots.as<int32_t>(), sorted.as<int32_t>(), static_cast<uint32_t>(index.columns()),
                matrix<int32_t>(position), offsets.as<int64_t>(), static_cast<int32_t>(places)});
}

void gather_rows(Stream& stream, const Tensor& x, const Tensor& rows, int64_t divisor,
                 const Tensor& out) {
  switch (size_of(x.dtype())) {
    case 1: return gather<uint8_t>(stream, x, rows, divisor, out);
    case 2: return gather<uint16_t>(stream, x, rows, divisor, out);
    case 4: return gather<uint32_t>(stream, x, rows, divisor, out);
    default: return gather<uint64_t>(stream, x, rows, divisor, out);
  }
}

void combine_rows(Stream& stream, const Tensor& y, const Tensor& position, const Tensor& weights,
                  const Tensor& out) {
  with_type(y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Matrix<const float> factors =
        weights.empty() ? Matrix<const float>{nullptr, 0, false} : matrix<const float>(weights);
    for_each<kPack<T>>(stream, out.rows(), out.columns(),
                       Combine<T>{matrix<const T>(y), matrix<const int32_t>(position), factors,
                                  static_cast<int>(position.columns()), matrix<T>(out)});
  });
}

void weigh_rows(Stream& stream, const Tensor& weights, const Tensor& g, const Tensor& h,
                const Tensor& dweights) {
  with_type(g.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Teams at = teams(g.rows(), g.columns());
    launch(stream, weigh<T>, at.grid, at.block, at.shared_bytes, weights.as<float>(), matrix<T>(g),
           matrix<T>(h), g.rows(), g.columns(), dweights.as<float>());
  });
}

}  // namespace tessera::cuda
