// SPDX-License-Identifier: Apache-2.0
// Attention on ordinary arithmetic, for f32 and for heads wider than the tensor cores' kernels: a
// warp for each query, or key, of a head; what it goes over comes 32 at a time, one to a lane, and
// sums lie in shared memory, element d with lane d % 32. Sums go in increasing order.
#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_choice.h"
#include "kernels/cuda/attention_cudnn.h"

namespace tessera::cuda {
namespace {

constexpr int kWarps = 4;

template <typename A, typename B>
__device__ float dot(const A* a, const B* b, int size) {
  float sum = 0;
  for (int i = 0; i < size; ++i) sum += widen(a[i]) * widen(b[i]);
  return sum;
}

// sums[d] = sums[d] * shrink + sum over lanes j of factor_j * rows[j][d], where row j exists.
template <typename T>
__device__ void add_rows(float* sums, int size, float shrink, float factor, const T* rows,
                         int64_t pitch, int64_t count) {
  const int lane = threadIdx.x % kWarp;
  for (int first = 0; first < size; first += kWarp) {
    const int d = first + lane;
    float sum = d < size ? sums[d] * shrink : 0;
    for (int j = 0; j < kWarp; ++j) {
      const float of_row = __shfl_sync(kAllLanes, factor, j);
      if (d < size && j < count) sum += of_row * widen(rows[j * pitch + d]);
    }
    if (d < size) sums[d] = sum;
  }
}

__device__ void clear_sums(float* sums, int size) {
  for (int d = threadIdx.x % kWarp; d < size; d += kWarp) sums[d] = 0;
}
template <typename T>
__device__ void write_sums(const float* sums, int size, float factor, T* to) {
  for (int d = threadIdx.x % kWarp; d < size; d += kWarp) to[d] = narrow<T>(sums[d] * factor);
}

// The warp's row among all of a head's, sequence after sequence; the head is blockIdx.y.
__device__ int64_t warp_row() {
  return static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarp;
}

template <typename T>
__global__ void forward_rows(Heads<T> at, int64_t rows) {
  const int64_t row = warp_row();
  if (row >= rows) return;
  const int lane = threadIdx.x % kWarp, head = blockIdx.y;
  float* sums = shared_memory<float>() + threadIdx.x / kWarp * at.v_dim;
  clear_sums(sums, at.v_dim);
  const int64_t sequence = row / at.query_length, query = row % at.query_length;
  const int64_t first = at.first_key(sequence, query), last = at.last_key(query);
  const T* q = at.q.row(row) + head * at.qk_dim;
  float maximum = -INFINITY, sum = 0;
  for (int64_t begin = first / kWarp * kWarp; begin <= last; begin += kWarp) {
    const int64_t key = begin + lane, key_row = sequence * at.key_length + begin;
    const T* k = at.k.row(key_row) + head / at.group * at.qk_dim;
    const T* v = at.v.row(key_row) + head / at.group * at.v_dim;
    const bool seen = key >= first && key <= last;
    const float score = seen ? at.scale * dot(q, k + lane * at.k.pitch, at.qk_dim) : -INFINITY;
    const float now = larger(maximum, warp_reduce(score, Max{}));
    const float shrink = expf(maximum - now), p = expf(score - now);
    sum = sum * shrink + warp_sum(p);
    maximum = now;
    add_rows(sums, at.v_dim, shrink, p, v, at.v.pitch, last - begin + 1);
  }
  if (lane == 0) at.log_sum_exp.row(row)[head] = maximum + logf(sum);
  write_sums(sums, at.v_dim, 1 / sum, at.out.row(row) + head * at.v_dim);
}

// p of a query and a key, and the gradient of its score: p (dp - delta) scale.
template <typename T>
struct Gradient {
  float p = 0, ds = 0;

  __device__ Gradient(const Heads<T>& at, bool seen, const T* q, const T* k, const T* v,
                      const T* dout, const float* lse, const float* delta) {
    if (!seen) return;
    p = expf(at.scale * dot(q, k, at.qk_dim) - *lse);
    ds = at.scale * p * (dot(dout, v, at.v_dim) - *delta);
  }
};

template <typename T>
__global__ void backward_query_rows(Heads<T> at, Matrix<const T> dout, const float* deltas,
                                    int64_t rows, Matrix<T> dq) {
  const int64_t row = warp_row();
  if (row >= rows) return;
  const int lane = threadIdx.x % kWarp, head = blockIdx.y;
  float* sums = shared_memory<float>() + threadIdx.x / kWarp * at.qk_dim;
  clear_sums(sums, at.qk_dim);
  const int64_t sequence = row / at.query_length, query = row % at.query_length;
  const int64_t first = at.first_key(sequence, query), last = at.last_key(query);
  for (int64_t begin = first / kWarp * kWarp; begin <= last; begin += kWarp) {
    const int64_t key = begin + lane, key_row = sequence * at.key_length + begin;
    const T* k = at.k.row(key_row) + head / at.group * at.qk_dim;
    const T* v = at.v.row(key_row) + head / at.group * at.v_dim;
    const Gradient<T> of(at, key >= first && key <= last, at.q.row(row) + head * at.qk_dim,
                         k + lane * at.k.pitch, v + lane * at.v.pitch,
                         dout.row(row) + head * at.v_dim, at.log_sum_exp.row(row) + head,
                         deltas + row * at.heads + head);
    add_rows(sums, at.qk_dim, 1, of.ds, k, at.k.pitch, last - begin + 1);
  }
  write_sums(sums, at.qk_dim, 1, dq.row(row) + head * at.qk_dim);
}

template <typename T>
__global__ void backward_key_rows(Heads<T> at, Matrix<const T> dout, const float* deltas,
                                  int64_t rows, Matrix<T> dk, Matrix<T> dv) {
  const int64_t row = warp_row();
  if (row >= rows) return;
  const int lane = threadIdx.x % kWarp, kv_head = blockIdx.y;
  float* dk_sums = shared_memory<float>() + threadIdx.x / kWarp * (at.qk_dim + at.v_dim);
  float* dv_sums = dk_sums + at.qk_dim;
  clear_sums(dk_sums, at.qk_dim + at.v_dim);
  // If qk_dim is no multiple of 32, one lane clears what another adds to in dv_sums.
  __syncwarp();
  const int64_t sequence = row / at.key_length, key = row % at.key_length;
  const T* k = at.k.row(row) + kv_head * at.qk_dim;
  const T* v = at.v.row(row) + kv_head * at.v_dim;
  const int64_t earliest = larger<int64_t>(0, key - at.last_key(0)) / kWarp * kWarp;
  for (int head = kv_head * at.group; head < (kv_head + 1) * at.group; ++head)
    for (int64_t begin = earliest; begin < at.query_length; begin += kWarp) {
      const int64_t query = begin + lane, query_row = sequence * at.query_length + query;
      const bool seen = query < at.query_length && key <= at.last_key(query) &&
                        key >= at.first_key(sequence, smaller(query, at.query_length - 1));
      const Gradient<T> of(at, seen, at.q.row(query_row) + head * at.qk_dim, k, v,
                           dout.row(query_row) + head * at.v_dim,
                           at.log_sum_exp.row(query_row) + head,
                           deltas + query_row * at.heads + head);
      const int64_t first_row = sequence * at.query_length + begin;
      add_rows(dk_sums, at.qk_dim, 1, of.ds, at.q.row(first_row) + head * at.qk_dim, at.q.pitch,
               at.query_length - begin);
      add_rows(dv_sums, at.v_dim, 1, of.p, dout.row(first_row) + head * at.v_dim, dout.pitch,
               at.query_length - begin);
    }
  write_sums(dk_sums, at.qk_dim, 1, dk.row(row) + kv_head * at.qk_dim);
  write_sums(dv_sums, at.v_dim, 1, dv.row(row) + kv_head * at.v_dim);
}

template <typename T>
__global__ void row_deltas(Heads<T> at, int64_t rows, Matrix<const T> dout, float* deltas) {
  const int64_t row = warp_row();
  if (row >= rows) return;
  const int head = blockIdx.y;
  const T* a = at.out.row(row) + head * at.v_dim;
  const T* b = dout.row(row) + head * at.v_dim;
  float sum = 0;
  for (int d = threadIdx.x % kWarp; d < at.v_dim; d += kWarp) sum += widen(a[d]) * widen(b[d]);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) deltas[row * at.heads + head] = sum;
}

dim3 warps_over(int64_t rows, int heads) {
  return dim3(static_cast<unsigned>(divide_up(rows, kWarps)), static_cast<unsigned>(heads));
}
constexpr int kThreads = kWarps * kWarp;

size_t bytes_of_sums(int64_t elements) {
  return static_cast<size_t>(elements) * kWarps * sizeof(float);
}

}  // namespace

template <typename T>
Tensor attention_deltas(Stream& stream, const Heads<T>& at, int64_t rows, Matrix<const T> dout) {
  const Tensor deltas(stream.device(), DType::f32, {rows, at.heads}, MemoryClass::other);
  launch(stream, row_deltas<T>, warps_over(rows, at.heads), dim3(kThreads), 0, at, rows, dout,
         deltas.as<float>());
  return deltas;
}

template <typename T>
void plain_attention(Stream& stream, const Attention& shape, const Heads<T>& at) {
  const int64_t rows = shape.num_sequences * shape.query_length;
  launch(stream, forward_rows<T>, warps_over(rows, shape.num_heads), dim3(kThreads),
         bytes_of_sums(shape.v_dim), at, rows);
}

template <typename T>
void plain_attention_backward(Stream& stream, const Attention& shape, const Heads<T>& at,
                              Matrix<const T> dout, const float* deltas, Matrix<T> dq, Matrix<T> dk,
                              Matrix<T> dv) {
  const int64_t queries = shape.num_sequences * shape.query_length;
  const int64_t keys = shape.num_sequences * shape.key_length;
  launch(stream, backward_query_rows<T>, warps_over(queries, shape.num_heads), dim3(kThreads),
         bytes_of_sums(shape.qk_dim), at, dout, deltas, queries, dq);
  launch(stream, backward_key_rows<T>, warps_over(keys, shape.num_kv_heads), dim3(kThreads),
         bytes_of_sums(shape.qk_dim + shape.v_dim), at, dout, deltas, keys, dk, dv);
}

namespace {

template <typename T>
constexpr bool kOnTensorCores = !std::is_same_v<T, float>;

// Why the kernels on tensor cores, asked or not, do not serve T.
template <typename T>
std::string why_plain(AttentionChoice wish, const std::string& declined) {
  if (wish == AttentionChoice::plain) return {};
  const std::string own = kOnTensorCores<T> ? "own declined: heads wider than 192/128"
                                            : "own declined: f32 is not for tensor cores";
  return declined.empty() ? own : declined + "; " + own;
}

std::string declined_by_library(const std::string& why) {
  return why.empty() ? why : "cudnn declined: " + why;
}

}  // namespace

void attention(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
               const Tensor& v, const Tensor& document_starts, const Tensor& out,
               const Tensor& log_sum_exp) {
  if (q.rows() == 0) return;
  const AttentionChoice wish = attention_choice();
  const auto served = [&](const char* who, const std::string& declined) {
    tell_who_attends(AttentionPass::forward, shape, q.dtype(), who, declined);
  };
  std::string declined;
  if (wish == AttentionChoice::cudnn) {
    declined = declined_by_library(
        library_attention(stream, shape, q, k, v, document_starts, out, log_sum_exp));
    if (declined.empty()) return served("cudnn", {});
  }
  with_type(q.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Heads<T> at = heads_of<T>(shape, q, k, v, document_starts, out, log_sum_exp);
    if constexpr (kOnTensorCores<T>)
      if (wish != AttentionChoice::plain && tiled_attention(stream, shape, at))
        return served("own", declined);
    plain_attention(stream, shape, at);
    served("plain", why_plain<T>(wish, declined));
  });
}

void attention_backward(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& document_starts, const Tensor& out,
                        const Tensor& log_sum_exp, const Tensor& dout,
                        const AttentionGradients& gradients) {
  if (k.rows() == 0) return;
  const AttentionChoice wish = attention_choice();
  const auto served = [&](const char* who, const std::string& declined) {
    tell_who_attends(AttentionPass::backward, shape, q.dtype(), who, declined);
  };
  std::string declined;
  if (wish == AttentionChoice::cudnn) {
    declined = declined_by_library(library_attention_backward(
        stream, shape, q, k, v, document_starts, out, log_sum_exp, dout, gradients));
    if (declined.empty()) return served("cudnn", {});
  }
  with_type(q.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Heads<T> at = heads_of<T>(shape, q, k, v, document_starts, out, log_sum_exp);
    const Matrix<const T> d = matrix<const T>(dout);
    const Tensor deltas = attention_deltas(stream, at, q.rows(), d);
    const Matrix<T> dq = matrix<T>(gradients.dq), dk = matrix<T>(gradients.dk),
                    dv = matrix<T>(gradients.dv);
    if constexpr (kOnTensorCores<T>)
      if (wish != AttentionChoice::plain &&
          tiled_attention_backward(stream, shape, at, d, deltas.as<float>(), dq, dk, dv))
        return served("own", declined);
    plain_attention_backward(stream, shape, at, d, deltas.as<float>(), dq, dk, dv);
    served("plain", why_plain<T>(wish, declined));
  });
}

}  // namespace tessera::cuda

extern "C" void tessera_attention_row_deltas(tessera::Stream& stream,
                                             const tessera::Attention& shape,
                                             const tessera::Tensor& out,
                                             const tessera::Tensor& dout) {
  using namespace tessera::cuda;
  with_type(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Heads<T> at = heads_of<T>(shape, out, out, out, {}, out, {});
    (void)attention_deltas(stream, at, out.rows(), matrix<const T>(dout));
  });
}
