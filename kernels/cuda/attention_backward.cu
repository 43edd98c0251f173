// SPDX-License-Identifier: Apache-2.0
// The gradients of attention on tensor cores (arXiv:2307.08691, algorithm 2), in two kernels
// instead of one with atomics: a block has 64 keys of one head of k and v and goes over the heads
// of its group and their queries, or it has 64 queries of one head and goes over keys; each in
// increasing order, 32 at a time, so that equal calls give equal bits. Probabilities are computed
// again from the log-sum-exp; they and their gradients are rounded to T where they enter the next
// product.
#include "kernels/cuda/attention.cuh"

namespace tessera::cuda {
namespace {

constexpr int kOwn = 64, kOther = 32, kOtherTiles = kOther / 8;
constexpr int kNever = 0x7fffffff;  // a key that is not there

// What the keys' kernel has to know of a query of one head.
struct Query {
  float log_sum_exp, delta;  // the former times log2(e)
  int first, last;           // keys that it sees
};

// Rows that a block owns, and two buffers of those it goes over: Qk-wide and V-wide of each.
template <typename T, int kQk, int kV>
struct Shared {
  using OwnQk = Tile<T, kOwn, kQk>;
  using OwnV = Tile<T, kOwn, kV>;
  using OtherQk = Tile<T, kOther, kQk>;
  using OtherV = Tile<T, kOther, kV>;
  static constexpr size_t kOthers = OtherQk::kBytes + OtherV::kBytes;
  static constexpr size_t kBytes =
      OwnQk::kBytes + OwnV::kBytes + 2 * kOthers + 2 * kOther * sizeof(Query);

  __device__ static char* part(size_t offset) { return shared_memory<char>() + offset; }
  __device__ OwnQk own_qk() const { return {reinterpret_cast<T*>(part(0))}; }
  __device__ OwnV own_v() const { return {reinterpret_cast<T*>(part(OwnQk::kBytes))}; }
  __device__ OtherQk other_qk(int buffer) const {
    return {reinterpret_cast<T*>(part(OwnQk::kBytes + OwnV::kBytes + buffer * kOthers))};
  }
  __device__ OtherV other_v(int buffer) const {
    return {reinterpret_cast<T*>(
        part(OwnQk::kBytes + OwnV::kBytes + buffer * kOthers + OtherQk::kBytes))};
  }
  __device__ Query* queries(int buffer) const {
    return reinterpret_cast<Query*>(part(OwnQk::kBytes + OwnV::kBytes + 2 * kOthers)) +
           buffer * kOther;
  }
};

// score -> p and dp -> p (dp - delta), where seen.
__device__ __forceinline__ void gradients_of(float& score, float& dp, float scale, float lse,
                                             float delta, bool seen) {
  const float p = seen ? fast_exp2(score * scale - lse) : 0;
  score = p;
  dp = p * (dp - delta);
}

template <typename T, int kQk, int kV>
__global__ void __launch_bounds__(kAttentionThreads)
    backward_keys(Heads<T> at, Matrix<const T> dout, const float* deltas, Matrix<T> dk,
                  Matrix<T> dv, bool aligned, bool paired) {
  const Shared<T, kQk, kV> shared;
  const int64_t first_key = static_cast<int64_t>(blockIdx.x) * kOwn, sequence = blockIdx.z;
  const int kv_head = blockIdx.y, lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t keys = smaller<int64_t>(kOwn, at.key_length - first_key);
  const int64_t key_row = sequence * at.key_length + first_key;
  const int64_t first_row = sequence * at.query_length;
  // Tiles of queries: those before `begin` see none of these keys.
  const int sees_first = static_cast<int>(larger<int64_t>(0, first_key - at.last_key(0)));
  const int begin = sees_first / kOther;
  const int tiles = static_cast<int>(divide_up(at.query_length, kOther)) - begin;
  const int steps = larger(0, tiles) * at.group;

  const auto fill = [&](int step, int buffer) {
    const int head = kv_head * at.group + step / tiles;
    const int64_t query = int64_t{begin + step % tiles} * kOther, row = first_row + query;
    const int64_t rows = at.query_length - query;
    bring<kAttentionThreads>(shared.other_qk(buffer), at.q.row(row) + head * at.qk_dim, at.q.pitch,
                             rows, at.qk_dim, aligned);
    bring<kAttentionThreads>(shared.other_v(buffer), dout.row(row) + head * at.v_dim, dout.pitch,
                             rows, at.v_dim, aligned);
    if (threadIdx.x >= kOther) return;
    const int64_t mine = row + threadIdx.x;
    Query& of = shared.queries(buffer)[threadIdx.x];
    if (threadIdx.x < rows)
      of = {at.log_sum_exp.row(mine)[head] * kLog2E, deltas[mine * at.heads + head],
            static_cast<int>(at.first_key(sequence, query + threadIdx.x)),
            static_cast<int>(at.last_key(query + threadIdx.x))};
    else
      of = {0, 0, kNever, 0};
  };

  bring<kAttentionThreads>(shared.own_qk(), at.k.row(key_row) + kv_head * at.qk_dim, at.k.pitch,
                           keys, at.qk_dim, aligned);
  bring<kAttentionThreads>(shared.own_v(), at.v.row(key_row) + kv_head * at.v_dim, at.v.pitch, keys,
                           at.v_dim, aligned);
  if (steps > 0) fill(0, 0);
  end_copy_group();
  float dk_sum[kQk / 8][4], dv_sum[kV / 8][4];
  clear(dk_sum);
  clear(dv_sum);
  const float scale = at.scale * kLog2E;
  const int key = static_cast<int>(first_key) + warp * 16 + lane / 4;
  for (int step = 0; step < steps; ++step) {
    const int buffer = step & 1;
    if (step + 1 < steps) fill(step + 1, buffer ^ 1);
    end_copy_group();
    wait_for_copies<1>();
    __syncthreads();  // this step's rows are there
    const Query* queries = shared.queries(buffer);
    // Queries of later documents see none of these keys.
    if (warp_reduce(queries[lane].first, Smaller{}) < first_key + kOwn) {
      float p[kOtherTiles][4], ds[kOtherTiles][4];
      clear(p);
      clear(ds);
      multiply_rows<T, kQk>(p, shared.own_qk(), warp * 16, shared.other_qk(buffer));
      multiply_rows<T, kV>(ds, shared.own_v(), warp * 16, shared.other_v(buffer));
#pragma unroll
      for (int n = 0; n < kOtherTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const Query of = queries[n * 8 + lane % 4 * 2 + e % 2];
          const int mine = key + e / 2 * 8;
          gradients_of(p[n][e], ds[n][e], scale, of.log_sum_exp, of.delta,
                       mine >= of.first && mine <= of.last);
        }
      multiply_result<T>(dv_sum, p, shared.other_v(buffer));
      multiply_result<T>(dk_sum, ds, shared.other_qk(buffer));
    }
    __syncthreads();  // this step's rows have been read
  }
  wait_for_copies<0>();
  const float one[2] = {1, 1}, scales[2] = {at.scale, at.scale};
  const int64_t row = key_row + warp * 16, rows = keys - warp * 16;
  write_rows(dk_sum, scales, dk.row(row) + kv_head * at.qk_dim, dk.pitch, rows, at.qk_dim, paired);
  write_rows(dv_sum, one, dv.row(row) + kv_head * at.v_dim, dv.pitch, rows, at.v_dim, paired);
}

template <typename T, int kQk, int kV>
__global__ void __launch_bounds__(kAttentionThreads)
    backward_queries(Heads<T> at, Matrix<const T> dout, const float* deltas, Matrix<T> dq,
                     bool aligned, bool paired) {
  const Shared<T, kQk, kV> shared;
  const int64_t tile = gridDim.x - 1 - blockIdx.x, sequence = blockIdx.z;
  const int head = blockIdx.y, lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t first_query = tile * kOwn;
  const int64_t queries = smaller<int64_t>(kOwn, at.query_length - first_query);
  const int64_t query_row = sequence * at.query_length + first_query;
  const int64_t key_row = sequence * at.key_length;

  int first[2], last[2];
  float lse[2], delta[2];
  for (int half = 0; half < 2; ++half) {
    const int64_t mine = smaller<int64_t>(queries - 1, warp * 16 + lane / 4 + half * 8);
    first[half] = static_cast<int>(at.first_key(sequence, first_query + mine));
    last[half] = static_cast<int>(at.last_key(first_query + mine));
    lse[half] = at.log_sum_exp.row(query_row + mine)[head] * kLog2E;
    delta[half] = deltas[(query_row + mine) * at.heads + head];
  }
  const int64_t begin = at.earliest_key(sequence, first_query, queries) / kOther;
  const int64_t end = at.last_key(first_query + queries - 1) / kOther + 1;

  const auto fill = [&](int64_t j, int buffer) {
    const int64_t key = j * kOther, rows = at.key_length - key;
    bring<kAttentionThreads>(shared.other_qk(buffer),
                             at.k.row(key_row + key) + head / at.group * at.qk_dim, at.k.pitch,
                             rows, at.qk_dim, aligned);
    bring<kAttentionThreads>(shared.other_v(buffer),
                             at.v.row(key_row + key) + head / at.group * at.v_dim, at.v.pitch, rows,
                             at.v_dim, aligned);
  };
  bring<kAttentionThreads>(shared.own_qk(), at.q.row(query_row) + head * at.qk_dim, at.q.pitch,
                           queries, at.qk_dim, aligned);
  bring<kAttentionThreads>(shared.own_v(), dout.row(query_row) + head * at.v_dim, dout.pitch,
                           queries, at.v_dim, aligned);
  fill(begin, 0);
  end_copy_group();
  float dq_sum[kQk / 8][4];
  clear(dq_sum);
  const float scale = at.scale * kLog2E;
  for (int64_t j = begin; j < end; ++j) {
    const int buffer = static_cast<int>((j - begin) & 1);
    if (j + 1 < end) fill(j + 1, buffer ^ 1);
    end_copy_group();
    wait_for_copies<1>();
    __syncthreads();  // this step's rows are there
    float p[kOtherTiles][4], ds[kOtherTiles][4];
    clear(p);
    clear(ds);
    multiply_rows<T, kQk>(p, shared.own_qk(), warp * 16, shared.other_qk(buffer));
    multiply_rows<T, kV>(ds, shared.own_v(), warp * 16, shared.other_v(buffer));
#pragma unroll
    for (int n = 0; n < kOtherTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = static_cast<int>(j) * kOther + n * 8 + lane % 4 * 2 + e % 2;
        gradients_of(p[n][e], ds[n][e], scale, lse[e / 2], delta[e / 2],
                     key >= first[e / 2] && key <= last[e / 2]);
      }
    multiply_result<T>(dq_sum, ds, shared.other_qk(buffer));
    __syncthreads();  // this step's rows have been read
  }
  wait_for_copies<0>();
  const float scales[2] = {at.scale, at.scale};
  write_rows(dq_sum, scales, dq.row(query_row + warp * 16) + head * at.qk_dim, dq.pitch,
             queries - warp * 16, at.qk_dim, paired);
}

}  // namespace

template <typename T>
bool tiled_attention_backward(Stream& stream, const Attention& shape, const Heads<T>& at,
                              Matrix<const T> dout, const float* deltas, Matrix<T> dq, Matrix<T> dk,
                              Matrix<T> dv) {
  const bool aligned = at.q.aligned && at.k.aligned && at.v.aligned && dout.aligned &&
                       shape.qk_dim % 8 == 0 && shape.v_dim % 8 == 0;
  return with_head_sizes(shape, [&](auto sizes) {
    using Sizes = decltype(sizes);
    constexpr size_t kBytes = Shared<T, Sizes::kQk, Sizes::kV>::kBytes;
    const auto sequences = static_cast<unsigned>(shape.num_sequences);
    const dim3 of_keys(static_cast<unsigned>(divide_up(shape.key_length, kOwn)),
                       static_cast<unsigned>(shape.num_kv_heads), sequences);
    const dim3 of_queries(static_cast<unsigned>(divide_up(shape.query_length, kOwn)),
                          static_cast<unsigned>(shape.num_heads), sequences);
    launch(stream, backward_keys<T, Sizes::kQk, Sizes::kV>, of_keys, dim3(kAttentionThreads),
           kBytes, at, dout, deltas, dk, dv, aligned,
           in_pairs(dk, shape.qk_dim) && in_pairs(dv, shape.v_dim));
    launch(stream, backward_queries<T, Sizes::kQk, Sizes::kV>, of_queries, dim3(kAttentionThreads),
           kBytes, at, dout, deltas, dq, aligned, in_pairs(dq, shape.qk_dim));
  });
}
template bool tiled_attention_backward<bf16>(Stream&, const Attention&, const Heads<bf16>&,
                                             Matrix<const bf16>, const float*, Matrix<bf16>,
                                             Matrix<bf16>, Matrix<bf16>);
template bool tiled_attention_backward<f16>(Stream&, const Attention&, const Heads<f16>&,
                                            Matrix<const f16>, const float*, Matrix<f16>,
                                            Matrix<f16>, Matrix<f16>);

}  // namespace tessera::cuda
