// SPDX-License-Identifier: Apache-2.0
// Attention on tensor cores (Dao, "FlashAttention-2", arXiv:2307.08691, algorithm 1): a block has
// 64 queries of one head, a warp 16 of them, and goes over tiles of 64 keys in increasing order
// with the running maximum and sum of each row. Probabilities are rounded to T where they enter the
// product with v. While a tile of scores is computed its values travel, and the next tile's keys
// during the rest.
#include "kernels/cuda/attention.cuh"

namespace tessera::cuda {
namespace {

constexpr int kQueries = 64, kKeys = 64, kKeyTiles = kKeys / 8;

template <typename T, int kQk, int kV>
struct Shared {
  using Queries = Tile<T, kQueries, kQk>;
  using Keys = Tile<T, kKeys, kQk>;
  using Values = Tile<T, kKeys, kV>;
  static constexpr size_t kBytes = Queries::kBytes + Keys::kBytes + Values::kBytes;
  Queries q;
  Keys k;
  Values v;

  __device__ Shared() {
    T* next = shared_memory<T>();
    q.data = next;
    k.data = next + Queries::kBytes / sizeof(T);
    v.data = k.data + Keys::kBytes / sizeof(T);
  }
};

// The running softmax of a warp's two rows in each lane: maximum (of scores times log2(e)) and this
// lane's part of the sum.
struct Running {
  float maximum[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};
};

// Scores become probabilities relative to the new maximum; out is made relative to it, too.
template <int kOut>
__device__ __forceinline__ void rescale(float (&score)[kKeyTiles][4], Running& running,
                                        float (&out)[kOut][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float maximum = running.maximum[half];
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
      maximum = Max{}(maximum, Max{}(score[n][2 * half], score[n][2 * half + 1]));
    maximum = row_max(maximum);
    const float base = maximum == -INFINITY ? 0 : maximum;  // no key seen yet
    const float shrink = fast_exp2(running.maximum[half] - base);
    float sum = running.sum[half] * shrink;
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        score[n][e] = fast_exp2(score[n][e] - base);
        sum += score[n][e];
      }
    running.maximum[half] = maximum;
    running.sum[half] = sum;
#pragma unroll
    for (int n = 0; n < kOut; ++n) {
      out[n][2 * half] *= shrink;
      out[n][2 * half + 1] *= shrink;
    }
  }
}

template <typename T, int kQk, int kV>
__global__ void __launch_bounds__(kAttentionThreads)
    forward(Heads<T> at, bool aligned, bool paired) {
  const Shared<T, kQk, kV> shared;
  // The longest rows first: blocks start in increasing order.
  const int64_t tile = gridDim.x - 1 - blockIdx.x, sequence = blockIdx.z;
  const int head = blockIdx.y, lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t first_query = tile * kQueries;
  const int64_t queries = smaller<int64_t>(kQueries, at.query_length - first_query);
  const int64_t query_row = sequence * at.query_length + first_query;
  const int64_t key_row = sequence * at.key_length;
  const T* keys = at.k.row(key_row) + head / at.group * at.qk_dim;
  const T* values = at.v.row(key_row) + head / at.group * at.v_dim;

  // What this lane's rows see, and the tiles that anyone of the block sees.
  int first[2], last[2];
  for (int half = 0; half < 2; ++half) {
    const int64_t query =
        first_query + smaller<int64_t>(queries - 1, warp * 16 + lane / 4 + half * 8);
    first[half] = static_cast<int>(at.first_key(sequence, query));
    last[half] = static_cast<int>(at.last_key(query));
  }
  const int64_t begin = at.earliest_key(sequence, first_query, queries) / kKeys,
                end = at.last_key(first_query + queries - 1) / kKeys + 1;
  const auto fill = [&](const auto& into, const T* from, const auto& matrix, int64_t j,
                        int columns) {
    bring<kAttentionThreads>(into, from + j * kKeys * matrix.pitch, matrix.pitch,
                             at.key_length - j * kKeys, columns, aligned);
  };

  bring<kAttentionThreads>(shared.q, at.q.row(query_row) + head * at.qk_dim, at.q.pitch, queries,
                           at.qk_dim, aligned);
  fill(shared.k, keys, at.k, begin, at.qk_dim);
  end_copy_group();
  float out[kV / 8][4];
  clear(out);
  Running running;
  const float scale = at.scale * kLog2E;
  for (int64_t j = begin; j < end; ++j) {
    fill(shared.v, values, at.v, j, at.v_dim);
    end_copy_group();
    wait_for_copies<1>();
    __syncthreads();  // q and k are there
    float score[kKeyTiles][4];
    clear(score);
    multiply_rows<T, kQk>(score, shared.q, warp * 16, shared.k);
    __syncthreads();  // k has been read
    if (j + 1 < end) fill(shared.k, keys, at.k, j + 1, at.qk_dim);
    end_copy_group();
    const bool all_seen = at.starts == nullptr && (j + 1) * kKeys - 1 <= at.last_key(first_query);
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = static_cast<int>(j) * kKeys + n * 8 + lane % 4 * 2 + e % 2;
        const bool seen = all_seen || (key >= first[e / 2] && key <= last[e / 2]);
        score[n][e] = seen ? score[n][e] * scale : -INFINITY;
      }
    rescale(score, running, out);
    wait_for_copies<1>();
    __syncthreads();  // v is there
    multiply_result<T>(out, score, shared.v);
    __syncthreads();  // v has been read
  }

  float factors[2];
  for (int half = 0; half < 2; ++half) {
    const float sum = row_sum(running.sum[half]);
    const int row = warp * 16 + lane / 4 + half * 8;
    factors[half] = 1.0f / sum;
    if (lane % 4 == 0 && row < queries)
      at.log_sum_exp.row(query_row + row)[head] = running.maximum[half] * kLn2 + logf(sum);
  }
  write_rows(out, factors, at.out.row(query_row + warp * 16) + head * at.v_dim, at.out.pitch,
             queries - warp * 16, at.v_dim, paired);
}

}  // namespace

template <typename T>
bool tiled_attention(Stream& stream, const Attention& shape, const Heads<T>& at) {
  const bool aligned =
      at.q.aligned && at.k.aligned && at.v.aligned && shape.qk_dim % 8 == 0 && shape.v_dim % 8 == 0;
  return with_head_sizes(shape, [&](auto sizes) {
    using Sizes = decltype(sizes);
    const dim3 grid(static_cast<unsigned>(divide_up(shape.query_length, kQueries)),
                    static_cast<unsigned>(shape.num_heads),
                    static_cast<unsigned>(shape.num_sequences));
    launch(stream, forward<T, Sizes::kQk, Sizes::kV>, grid, dim3(kAttentionThreads),
           Shared<T, Sizes::kQk, Sizes::kV>::kBytes, at, aligned, in_pairs(at.out, shape.v_dim));
  });
}
template bool tiled_attention<bf16>(Stream&, const Attention&, const Heads<bf16>&);
template bool tiled_attention<f16>(Stream&, const Attention&, const Heads<f16>&);

}  // namespace tessera::cuda
