// SPDX-License-Identifier: Apache-2.0
// What the attention kernels share: the call's sizes and who sees whom. Kept inside kernels/cuda.
#pragma once

#include "kernels/attention.h"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/tiles.cuh"

namespace tessera::cuda {

inline constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

struct Smaller {
  __device__ int operator()(int a, int b) const { return smaller(a, b); }
};

// One call, as every kernel of it sees it.
template <typename T>
struct Heads {
  Matrix<const T> q, k, v;
  Matrix<T> out;
  Matrix<float> log_sum_exp;
  const int32_t* starts;  // null: every query sees from key 0
  int64_t query_length, key_length;
  int heads, group;  // group: heads that share a head of k and v
  int qk_dim, v_dim;
  float scale;

  // The last key that a query of a sequence sees.
  __device__ int64_t last_key(int64_t query) const { return key_length - query_length + query; }
  __device__ int64_t first_key(int64_t sequence, int64_t query) const {
    return starts == nullptr ? 0 : starts[sequence * query_length + query];
  }
  // The first key that any of some queries sees. A warp must call.
  __device__ int64_t earliest_key(int64_t sequence, int64_t query, int64_t count) const {
    if (starts == nullptr) return 0;
    int earliest = 0x7fffffff;
    for (int64_t i = threadIdx.x % kWarp; i < count; i += kWarp)
      earliest = smaller(earliest, starts[sequence * query_length + query + i]);
    return warp_reduce(earliest, Smaller{});
  }
};

template <typename T>
Heads<T> heads_of(const Attention& shape, const Tensor& q, const Tensor& k, const Tensor& v,
                  const Tensor& document_starts, const Tensor& out, const Tensor& log_sum_exp) {
  return {matrix<const T>(q),
          matrix<const T>(k),
          matrix<const T>(v),
          matrix<T>(out),
          matrix<float>(log_sum_exp),
          document_starts.empty() ? nullptr : document_starts.as<int32_t>(),
          shape.query_length,
          shape.key_length,
          shape.num_heads,
          shape.num_heads / shape.num_kv_heads,
          shape.qk_dim,
          shape.v_dim,
          static_cast<float>(shape.scale)};
}

// delta = <dout, out> of each row and head, which the backward pass needs twice. (rows, heads).
template <typename T>
Tensor attention_deltas(Stream& stream, const Heads<T>& at, int64_t rows, Matrix<const T> dout);

// Any head size, any type, on ordinary arithmetic: attention_plain.cu.
template <typename T>
void plain_attention(Stream& stream, const Attention& shape, const Heads<T>& at);
template <typename T>
void plain_attention_backward(Stream& stream, const Attention& shape, const Heads<T>& at,
                              Matrix<const T> dout, const float* deltas, Matrix<T> dq, Matrix<T> dk,
                              Matrix<T> dv);

// On tensor cores; false where no kernel is as wide as the heads: attention_forward.cu,
// attention_backward.cu. T: bf16 or f16.
template <typename T>
bool tiled_attention(Stream& stream, const Attention& shape, const Heads<T>& at);
template <typename T>
bool tiled_attention_backward(Stream& stream, const Attention& shape, const Heads<T>& at,
                              Matrix<const T> dout, const float* deltas, Matrix<T> dq, Matrix<T> dk,
                              Matrix<T> dv);

// Calls function(Sizes<kQk, kV>{}) with the narrowest kernel for these head sizes, whose other
// columns are zeros; false where there is none.
template <int kQkSize, int kVSize>
struct Sizes {
  static constexpr int kQk = kQkSize, kV = kVSize;
};
template <typename Function>
bool with_head_sizes(const Attention& shape, Function function) {
  const auto fits = [&](auto sizes) {
    if (shape.qk_dim > sizes.kQk || shape.v_dim > sizes.kV) return false;
    function(sizes);
    return true;
  };
  return fits(Sizes<32, 32>{}) || fits(Sizes<64, 64>{}) || fits(Sizes<128, 128>{}) ||
         fits(Sizes<192, 128>{});
}

inline constexpr int kAttentionThreads = 128;  // 4 warps, each with 16 rows of a tile of 64

// Over the four lanes that hold a row of a product.
__device__ __forceinline__ float row_sum(float value) {
  value += __shfl_xor_sync(kAllLanes, value, 1);
  return value + __shfl_xor_sync(kAllLanes, value, 2);
}
__device__ __forceinline__ float row_max(float value) {
  value = Max{}(value, __shfl_xor_sync(kAllLanes, value, 1));
  return Max{}(value, __shfl_xor_sync(kAllLanes, value, 2));
}

}  // namespace tessera::cuda
