// SPDX-License-Identifier: Apache-2.0
// Sums whose order does not matter, because their last steps are integer additions: a piece of a
// row is summed in f64 in a fixed order, by a warp; pieces are added to the limbs of an ExactSum
// (kernels/base/exact_sum.h) by integer atomics, first the block's own limbs, then the result's.
#include "kernels/base/exact_sum.h"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/tile_list.cuh"
#include "kernels/reduce.h"

namespace tessera::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kLimbs = ExactSum::kLimbs, kWords = ExactSum::kWords;
constexpr int64_t kPiece = 4096;     // elements of a row that are summed in f64
constexpr int64_t kTilePieces = 32;  // one after the other by the warps of a block
constexpr int kMostTensors = 90;     // of one launch

using Word = unsigned long long;  // what CUDA adds atomically; modulo 2^64, so signs do not matter

template <typename T>
__device__ double wide(T value) {
  return widen(value);
}
__device__ double wide(double value) {
  return value;
}

// ExactSum::add for a thread among others.
__device__ void add_exactly(double term, Word* words) {
  union {
    double number;
    uint64_t bits;
  } as;
  as.number = term;
  const int exponent = static_cast<int>((as.bits >> 52) & 0x7ff);
  if (exponent == 0x7ff) {
    atomicAdd(words + kLimbs, Word{1});
    return;
  }
  uint64_t mantissa = as.bits & ((uint64_t{1} << 52) - 1);
  if (exponent != 0) mantissa |= uint64_t{1} << 52;
  if (mantissa == 0) return;
  const int shift = exponent == 0 ? 0 : exponent - 1, limb = shift / 32, offset = shift % 32;
  const uint64_t low = (mantissa & 0xffffffff) << offset, high = (mantissa >> 32) << offset;
  const Word parts[3] = {low & 0xffffffff, (low >> 32) + (high & 0xffffffff), high >> 32};
  for (int i = 0; i < 3; ++i)
    if (parts[i] != 0)
      atomicAdd(words + limb + i, as.bits >> 63 != 0 ? Word{0} - parts[i] : parts[i]);
}

__device__ Word* cleared_words() {
  Word* mine = shared_memory<Word>();
  for (int i = threadIdx.x; i < kWords; i += kThreads) mine[i] = 0;
  __syncthreads();
  return mine;
}
__device__ void give_words(const Word* mine, Word* words) {
  __syncthreads();
  for (int i = threadIdx.x; i < kWords; i += kThreads)
    if (mine[i] != 0) atomicAdd(words + i, mine[i]);
}

template <typename T>
struct Tensors {
  TileList<kMostTensors> tiles;
  Matrix<const T> of[kMostTensors];
  int64_t columns[kMostTensors], pieces[kMostTensors];
};

// By a warp, lane by lane in packs of 16 bytes; whole packs first, without a branch between several
// loads.
template <typename T>
__device__ double squares_of_piece(const T* from, int64_t count, bool aligned) {
  constexpr int kSize = kPack<T>, kStep = kWarp * kSize;
  double sum = 0;
  const auto add = [&](int64_t i, int64_t valid, bool whole) {
    float values[kSize];
    load(from + i, valid, whole, values);
#pragma unroll
    for (int e = 0; e < kSize; ++e) sum += wide(values[e]) * wide(values[e]);
  };
  int64_t i = threadIdx.x % kWarp * kSize;
  const int64_t whole_end = aligned ? count - kSize : -1;
#pragma unroll 4
  for (; i <= whole_end; i += kStep) add(i, kSize, true);
  for (; i < count; i += kStep) add(i, count - i, false);
  return warp_sum(sum);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) add_squares(Tensors<T> xs, Word* words, int64_t* bad) {
  Word* mine = cleared_words();
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  for (int64_t tile = blockIdx.x; tile < xs.tiles.count_tiles(); tile += gridDim.x) {
    const int which = xs.tiles.find(tile);
    const Matrix<const T> x = xs.of[which];
    const int64_t columns = xs.columns[which], of_row = divide_up(columns, kPiece);
    const int64_t begin = (tile - xs.tiles.first[which]) * kTilePieces;
    const int64_t end = smaller(xs.pieces[which], begin + kTilePieces);
    for (int64_t piece = begin + warp; piece < end; piece += kThreads / kWarp) {
      const int64_t first = piece % of_row * kPiece;
      const double sum = squares_of_piece(x.row(piece / of_row) + first,
                                          smaller(kPiece, columns - first), x.aligned);
      if (lane != 0) continue;
      add_exactly(sum, mine);
      if (sum - sum != 0) bad[which] = 1;  // an infinity or a NaN; whoever writes it writes 1
    }
  }
  give_words(mine, words);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    add_elements(const T* x, int64_t pitch, int64_t columns, int64_t rows, Word* words) {
  Word* mine = cleared_words();
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y)
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < columns;
         i += static_cast<int64_t>(gridDim.x) * kThreads)
      add_exactly(wide(x[row * pitch + i]), mine);
  give_words(mine, words);
}

// ExactSum::normalize: limbs from 0 to 2^32 - 1, so that many may be added again.
__global__ void carry(Word* words) {
  int64_t carried = 0;
  for (int limb = 0; limb + 1 < kLimbs; ++limb) {
    const int64_t word = static_cast<int64_t>(words[limb]) + carried;
    carried = word >> 32;
    words[limb] = static_cast<Word>(word & 0xffffffff);
  }
  words[kLimbs - 1] += static_cast<Word>(carried);
}

template <typename T>
__global__ void __launch_bounds__(kThreads)
    count_bad(const T* x, int64_t pitch, int64_t columns, int64_t rows, Word* count) {
  int64_t bad = 0;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y)
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < columns;
         i += static_cast<int64_t>(gridDim.x) * kThreads) {
      const double value = wide(x[row * pitch + i]);
      bad += value - value != 0;  // of an infinity or a NaN: NaN
    }
  bad = warp_sum(bad);
  if (threadIdx.x % kWarp == 0 && bad != 0) atomicAdd(count, static_cast<Word>(bad));
}

struct Best {
  double value;
  int64_t index;
};
// The larger value, of equals the first; a NaN counts as less than everything.
struct Better {
  __device__ Best operator()(Best a, Best b) const {
    return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
  }
};
template <typename T>
__global__ void __launch_bounds__(kThreads)
    largest(const T* x, int64_t pitch, int64_t columns, int32_t* index) {
  const int64_t row = blockIdx.x;
  const T* in = x + row * pitch;
  Best best{-INFINITY, columns};
  for (int64_t i = threadIdx.x; i < columns; i += kThreads) {
    const double value = wide(in[i]);
    if (value == value) best = Better{}(best, {value, i});
  }
  for (int apart = 1; apart < kWarp; apart *= 2)
    best = Better{}(best, {__shfl_xor_sync(kAllLanes, best.value, apart),
                           __shfl_xor_sync(kAllLanes, best.index, apart)});
  Best* scratch = shared_memory<Best>();
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = best;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int warp = 1; warp < kThreads / kWarp; ++warp) best = Better{}(best, scratch[warp]);
  const double first = wide(in[0]);  // nothing is larger than a NaN that comes first
  index[row] = first != first || best.index == columns ? 0 : static_cast<int32_t>(best.index);
}

template <typename Function>
void with_floating(DType dtype, Function function) {
  visit(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!std::is_integral_v<T>) function(tag);
  });
}

// Blocks that fill a GPU and leave each of them something to do.
constexpr int64_t kMostBlocks = 1024;
// Between two carries: each adds less than 2^33 to a limb. Models have fewer rows on one device.
constexpr int64_t kMostAdditions = int64_t{1} << 29;

// Tensors [first, first + kMostTensors) of a call.
template <typename T>
Tensors<T> some_tensors(const std::vector<Tensor>& xs, size_t first) {
  static_assert(sizeof(Tensors<T>) + 2 * sizeof(void*) <= kMostArgumentBytes);
  Tensors<T> some{};
  for (size_t i = first; i < std::min(xs.size(), first + kMostTensors); ++i) {
    const int at = some.tiles.count;
    some.of[at] = matrix<const T>(xs[i]);
    some.columns[at] = xs[i].columns();
    some.pieces[at] = xs[i].rows() * divide_up(xs[i].columns(), kPiece);
    some.tiles.add(divide_up(some.pieces[at], kTilePieces));
  }
  return some;
}

dim3 grid_over(const Tensor& x) {
  const int64_t across = std::min<int64_t>(divide_up(x.columns(), kThreads), kMostBlocks);
  return dim3(static_cast<unsigned>(across),
              grid_extent(std::min<int64_t>(x.rows(), divide_up(kMostBlocks, across))));
}

}  // namespace

void sum_of_squares(Stream& stream, const std::vector<Tensor>& xs, const Tensor& words,
                    const Tensor& bad) {
  if (xs.empty()) return;
  auto* sums = reinterpret_cast<Word*>(words.as<int64_t>());
  int64_t pieces = 0;
  with_type(xs.front().dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (size_t first = 0; first < xs.size(); first += kMostTensors) {
      const Tensors<T> some = some_tensors<T>(xs, first);
      const int64_t tiles = some.tiles.count_tiles();
      launch(stream, add_squares<T>, dim3(static_cast<unsigned>(std::min(tiles, kMostBlocks))),
             dim3(kThreads), kWords * sizeof(Word), some, sums, bad.as<int64_t>() + first);
      for (int i = 0; i < some.tiles.count; ++i) pieces += some.pieces[i];
    }
  });
  check(pieces <= kMostAdditions,
        "sum_of_squares: of more rows than its limbs have room for:", pieces);
  launch(stream, carry, dim3(1), dim3(1), 0, sums);
}

void exact_sum(Stream& stream, const Tensor& x, const Tensor& words) {
  if (x.size() == 0) return;
  auto* sums = reinterpret_cast<Word*>(words.as<int64_t>());
  with_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(stream, add_elements<T>, grid_over(x), dim3(kThreads), kWords * sizeof(Word), x.as<T>(),
           x.pitch(), x.columns(), x.rows(), sums);
  });
  launch(stream, carry, dim3(1), dim3(1), 0, sums);
}

void count_non_finite(Stream& stream, const Tensor& x, const Tensor& count) {
  if (x.size() == 0) return;
  with_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(stream, count_bad<T>, grid_over(x), dim3(kThreads), 0, x.as<T>(), x.pitch(), x.columns(),
           x.rows(), reinterpret_cast<Word*>(count.as<int64_t>()));
  });
}

void argmax(Stream& stream, const Tensor& x, const Tensor& index) {
  if (x.rows() == 0) return;
  with_floating(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(stream, largest<T>, dim3(static_cast<unsigned>(x.rows())), dim3(kThreads),
           kThreads / kWarp * sizeof(Best), x.as<T>(), x.pitch(), x.columns(), index.as<int32_t>());
  });
}

}  // namespace tessera::cuda
