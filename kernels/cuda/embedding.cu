// SPDX-License-Identifier: Apache-2.0
// Rows of a table by token, and the sum of their gradients. Backward sorts the rows by token,
// stably; the first row of each token then adds all of them in increasing order: no atomics, and
// the bits of a loop over the rows.
#include "kernels/cuda/for_each.cuh"
#include "kernels/cuda/sort.cuh"
#include "kernels/embedding.h"

namespace tessera::cuda {
namespace {

template <typename T>
struct Take {
  static constexpr int kSize = kPack<T>;
  const int32_t* tokens;
  int64_t first_token, table_rows;
  Matrix<const T> table;
  Matrix<T> out;

  __device__ void operator()(int64_t row, int64_t column, int64_t valid) const {
    const int64_t index = tokens[row] - first_token;
    float x[kSize] = {};
    if (index >= 0 && index < table_rows) load(table.row(index) + column, valid, table.aligned, x);
    store(out.row(row) + column, valid, out.aligned, x);
  }
};

// The table's row of each token; one behind the last for tokens of other slices.
struct Keys {
  const int32_t* tokens;
  int64_t first_token, table_rows;
  int32_t* keys;

  __device__ void operator()(int64_t, int64_t i, int64_t) const {
    const int64_t index = tokens[i] - first_token;
    keys[i] = static_cast<int32_t>(index >= 0 && index < table_rows ? index : table_rows);
  }
};

template <typename T>
struct AddRuns {
  static constexpr int kSize = kPack<float>;
  const int32_t *keys, *rows;  // sorted by key, then by row
  int64_t count, table_rows;
  Matrix<const T> dy;
  Matrix<float> dtable;

  __device__ void operator()(int64_t i, int64_t column, int64_t valid) const {
    const int32_t key = keys[i];
    if (key == table_rows || (i > 0 && keys[i - 1] == key)) return;
    float sum[kSize], x[kSize];
    float* to = dtable.row(key) + column;
    load(to, valid, dtable.aligned, sum);
    for (int64_t next = i; next < count && keys[next] == key; ++next) {
      load(dy.row(rows[next]) + column, valid, dy.aligned, x);
#pragma unroll
      for (int e = 0; e < kSize; ++e) sum[e] += x[e];
    }
    store(to, valid, dtable.aligned, sum);
  }
};

}  // namespace

void embedding(Stream& stream, const Tensor& tokens, int64_t first_token, const Tensor& table,
               const Tensor& out) {
  with_type(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each<Take<T>::kSize>(stream, out.rows(), out.columns(),
                             Take<T>{tokens.as<int32_t>(), first_token, table.rows(),
                                     matrix<const T>(table), matrix<T>(out)});
  });
}

void embedding_backward(Stream& stream, const Tensor& tokens, int64_t first_token, const Tensor& dy,
                        const Tensor& dtable) {
  const int64_t count = dy.rows();
  if (count == 0) return;
  const Tensor scratch(stream.device(), DType::i32, {4, count}, MemoryClass::other);
  const Tensor keys = scratch.row_slice(0, 1), rows = scratch.row_slice(1, 1),
               sorted_keys = scratch.row_slice(2, 1), sorted_rows = scratch.row_slice(3, 1);
  for_each<1>(stream, 1, count,
              Keys{tokens.as<int32_t>(), first_token, dtable.rows(), keys.as<int32_t>()});
  count_up(stream, rows);
  sort_pairs(stream, keys, rows, dtable.rows(), sorted_keys, sorted_rows);
  with_type(dy.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_each<AddRuns<T>::kSize>(
        stream, count, dy.columns(),
        AddRuns<T>{sorted_keys.as<int32_t>(), sorted_rows.as<int32_t>(), count, dtable.rows(),
                   matrix<const T>(dy), matrix<float>(dtable)});
  });
}

}  // namespace tessera::cuda
