// SPDX-License-Identifier: Apache-2.0
// One product for each expert, all in one launch: a block makes a tile of 128 x 128 of some group's
// result, 8 warps in 2 x 4, while the next two slices of 32 of the depth travel. Where a group's
// rows begin is read on the device: the host launches blocks for as many tiles as there can be and
// never knows which of them were left over. Sums over the depth go in increasing order in f32; what
// a group gives does not depend on the others, but its bits are not those of cuBLASLt.
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/tiles.cuh"
#include "kernels/gemm.h"
#include "kernels/transfer.h"

namespace tessera::cuda {
decltype(tessera::gemm) gemm;
namespace {

constexpr int kThreads = 256, kTileM = 128, kTileN = 128, kSlice = 32, kStages = 3;
constexpr int kWarpM = 64, kWarpN = 32;  // of a warp's part of the tile

template <typename T, typename Out>
struct Operands {
  Matrix<const T> a, b;
  Matrix<Out> c;
  int64_t m, n, k;  // of one product; what rows decide is left out
  bool aligned, paired;
};

// What of the operands a block works on: its tile's corners and how much there is beyond them.
template <typename T, typename Out>
struct Work {
  const T *a, *b;
  Out* c;
  int64_t m, n, k;
};

// a (m, k), or, deep, (k, m); b (n, k), or (k, n).
template <typename T, typename Out, bool kDeepA, bool kDeepB, bool kAdd>
struct Product {
  using TileA = std::conditional_t<kDeepA, Tile<T, kSlice, kTileM>, Tile<T, kTileM, kSlice>>;
  using TileB = std::conditional_t<kDeepB, Tile<T, kSlice, kTileN>, Tile<T, kTileN, kSlice>>;
  static constexpr size_t kStage = TileA::kBytes + TileB::kBytes;
  static constexpr size_t kBytes = kStages * kStage;

  __device__ static TileA tile_a(int stage) {
    return {reinterpret_cast<T*>(shared_memory<char>() + stage * kStage)};
  }
  __device__ static TileB tile_b(int stage) {
    return {reinterpret_cast<T*>(shared_memory<char>() + stage * kStage + TileA::kBytes)};
  }

  __device__ static void bring_slice(const Operands<T, Out>& of, const Work<T, Out>& work,
                                     int64_t k, int stage) {
    if constexpr (kDeepA)
      bring<kThreads>(tile_a(stage), work.a + k * of.a.pitch, of.a.pitch, work.k - k, work.m,
                      of.aligned);
    else
      bring<kThreads>(tile_a(stage), work.a + k, of.a.pitch, work.m, work.k - k, of.aligned);
    if constexpr (kDeepB)
      bring<kThreads>(tile_b(stage), work.b + k * of.b.pitch, of.b.pitch, work.k - k, work.n,
                      of.aligned);
    else
      bring<kThreads>(tile_b(stage), work.b + k, of.b.pitch, work.n, work.k - k, of.aligned);
  }

  __device__ static void multiply_slice(float (&sum)[kWarpM / 16][kWarpN / 8][4], int stage, int m,
                                        int n) {
#pragma unroll
    for (int k = 0; k < kSlice; k += 16) {
      uint32_t y[kWarpN / 16][4];
#pragma unroll
      for (int j = 0; j < kWarpN / 16; ++j) {
        if constexpr (kDeepB)
          right_deep(y[j], tile_b(stage), k, n + j * 16);
        else
          right(y[j], tile_b(stage), k, n + j * 16);
      }
#pragma unroll
      for (int i = 0; i < kWarpM / 16; ++i) {
        uint32_t x[4];
        if constexpr (kDeepA)
          left_deep(x, tile_a(stage), m + i * 16, k);
        else
          left(x, tile_a(stage), m + i * 16, k);
#pragma unroll
        for (int j = 0; j < kWarpN / 16; ++j) {
          mma<T>(sum[i][2 * j], x, y[j][0], y[j][1]);
          mma<T>(sum[i][2 * j + 1], x, y[j][2], y[j][3]);
        }
      }
    }
  }

  __device__ static void run(const Operands<T, Out>& of, const Work<T, Out>& work) {
    const int warp = threadIdx.x / kWarp;
    const int m = warp / (kTileN / kWarpN) * kWarpM, n = warp % (kTileN / kWarpN) * kWarpN;
    float sum[kWarpM / 16][kWarpN / 8][4];
#pragma unroll
    for (int i = 0; i < kWarpM / 16; ++i) clear(sum[i]);
#pragma unroll
    for (int stage = 0; stage + 1 < kStages; ++stage) {
      if (stage * kSlice < work.k) bring_slice(of, work, stage * kSlice, stage);
      end_copy_group();
    }
    int stage = 0;
    for (int64_t k = 0; k < work.k; k += kSlice) {
      wait_for_copies<kStages - 2>();
      __syncthreads();  // this slice is there, the one before has been read
      const int64_t ahead = k + (kStages - 1) * kSlice;
      if (ahead < work.k) bring_slice(of, work, ahead, (stage + kStages - 1) % kStages);
      end_copy_group();
      multiply_slice(sum, stage, m, n);
      stage = (stage + 1) % kStages;
    }
    wait_for_copies<0>();
    const float one[2] = {1, 1};
#pragma unroll
    for (int i = 0; i < kWarpM / 16; ++i)
      write_rows<kAdd>(sum[i], one, work.c + (m + i * 16) * of.c.pitch + n, of.c.pitch,
                       work.m - m - i * 16, work.n - n, of.paired);
  }
};

// Tiles of rows have numbers, group g's from this one on: enough of them wherever the group begins,
// since rows [x, y) take at most y / kTileM - x / kTileM + 1 tiles, and known without a sum over
// the groups before. Some numbers have no tile.
__device__ int64_t first_tile(const int64_t* offsets, int64_t group) {
  return offsets[group] / kTileM + group;
}
int64_t all_tiles(int64_t rows, int64_t groups) {
  return rows / kTileM + groups;
}

// The last group whose first tile is not behind this one. Every warp counts for itself.
__device__ int group_of(const int64_t* offsets, int groups, int64_t tile) {
  int begun = 0;
  for (int group = static_cast<int>(threadIdx.x) % kWarp; group < groups; group += kWarp)
    begun += first_tile(offsets, group) <= tile ? 1 : 0;
  return warp_sum(begun) - 1;
}

// C_g = A_g op(B_g): blockIdx.y is the number of a tile of rows.
template <typename T, typename Out, bool kDeepB>
__global__ void __launch_bounds__(kThreads)
    rows_of_groups(Operands<T, Out> of, const int64_t* offsets, int groups) {
  const int64_t tile = blockIdx.y;
  const int group = group_of(offsets, groups, tile);
  const int64_t row = offsets[group] + (tile - first_tile(offsets, group)) * kTileM;
  const int64_t end = offsets[group + 1];
  if (row >= end) return;
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kTileN;
  const T* b = of.b.row(group * (kDeepB ? of.k : of.n));
  Product<T, Out, false, kDeepB, false>::run(
      of, {of.a.row(row), kDeepB ? b + column : b + column * of.b.pitch, of.c.row(row) + column,
           end - row, of.n - column, of.k});
}

// C_g = A_g^T B_g, or += with kAdd: blockIdx.z is the group.
template <typename T, bool kAdd>
__global__ void __launch_bounds__(kThreads)
    weights_of_groups(Operands<T, float> of, const int64_t* offsets) {
  const int64_t group = blockIdx.z;
  const int64_t row = offsets[group], depth = offsets[group + 1] - row;
  if (kAdd && depth == 0) return;
  const int64_t m = static_cast<int64_t>(blockIdx.y) * kTileM;
  const int64_t n = static_cast<int64_t>(blockIdx.x) * kTileN;
  Product<T, float, true, true, kAdd>::run(
      of, {of.a.row(row) + m, of.b.row(row) + n, of.c.row(group * of.m + m) + n, of.m - m, of.n - n,
           depth});
}

template <typename T, typename Out>
Operands<T, Out> operands(const GroupedGemm& products) {
  const Matrix<const T> a = matrix<const T>(products.a), b = matrix<const T>(products.b);
  const Matrix<Out> c = matrix<Out>(products.c);
  return {a,
          b,
          c,
          products.a.columns(),
          products.c.columns(),
          products.a.columns(),
          a.aligned && b.aligned,
          in_pairs(c, 2)};
}

template <typename T, typename Out, bool kDeepB>
void all_rows(Stream& stream, const GroupedGemm& products) {
  const dim3 grid(static_cast<unsigned>(divide_up(products.c.columns(), kTileN)),
                  static_cast<unsigned>(all_tiles(products.c.rows(), products.groups())));
  launch(stream, rows_of_groups<T, Out, kDeepB>, grid, dim3(kThreads),
         Product<T, Out, false, kDeepB, false>::kBytes, operands<T, Out>(products),
         products.offsets.as<int64_t>(), static_cast<int>(products.groups()));
}

template <typename T, bool kAdd>
void all_weights(Stream& stream, const GroupedGemm& products) {
  const dim3 grid(static_cast<unsigned>(divide_up(products.b.columns(), kTileN)),
                  static_cast<unsigned>(divide_up(products.a.columns(), kTileM)),
                  static_cast<unsigned>(products.groups()));
  launch(stream, weights_of_groups<T, kAdd>, grid, dim3(kThreads),
         Product<T, float, true, true, kAdd>::kBytes, operands<T, float>(products),
         products.offsets.as<int64_t>());
}

// cuBLASLt's, which have to be asked for one by one.
void one_by_one(Stream& stream, GroupedGemm products) {
  products.offsets = on_host(stream, products.offsets);
  for (int64_t group = 0; group < products.groups(); ++group) {
    const Gemm product = products.product(group);
    // cuBLASLt refuses matrices without rows; one without depth is to give zeros.
    if (product.c.size() > 0) cuda::gemm(stream, product);
  }
}

}  // namespace

void grouped_gemm(Stream& stream, const GroupedGemm& products) {
  with_type(products.a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, float>) {
      one_by_one(stream, products);
    } else if (experts_one_by_one()) {
      one_by_one(stream, products);
    } else if (products.weights) {
      products.accumulate ? all_weights<T, true>(stream, products)
                          : all_weights<T, false>(stream, products);
    } else if (products.c.dtype() == products.a.dtype()) {
      products.transpose_b ? all_rows<T, T, false>(stream, products)
                           : all_rows<T, T, true>(stream, products);
    } else {
      products.transpose_b ? all_rows<T, float, false>(stream, products)
                           : all_rows<T, float, true>(stream, products);
    }
  });
}

}  // namespace tessera::cuda
