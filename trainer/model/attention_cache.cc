// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/attention_cache.h"

#include "kernels/attention.h"
#include "kernels/copy.h"

namespace tessera {

// Adds `fresh` to the rows of earlier passes and returns all of them.
Tensor SequenceCache::kept(Stream& stream, Tensor& all, const Tensor& fresh) const {
  if (all.empty()) all = Tensor(fresh.device(), fresh.dtype(), {capacity_, fresh.columns()});
  copy(stream, fresh, all.row_slice(length_, fresh.rows()));
  return all.row_slice(0, length_ + fresh.rows());
}

void SequenceCache::attend(Stream& stream, const void* layer, const Attention& shape,
                           const Tensor& q, const Tensor& keys, const Tensor& values,
                           const Tensor& document_starts, const Tensor& out,
                           const Tensor& log_sum_exp) {
  check(shape.num_sequences == 1, "SequenceCache: it holds one sequence, got", shape.num_sequences);
  Rows& rows = layers_[layer];
  const Tensor all_keys = kept(stream, rows.keys, keys);
  const Tensor all_values =
      values.empty() ? all_keys.column_slice(0, shape.v_dim) : kept(stream, rows.values, values);
  Attention whole = shape;
  whole.key_length = all_keys.rows();
  attention(stream, whole, q, all_keys, all_values, document_starts, out, log_sum_exp);
}

int64_t SequenceCache::numbers_per_token() const {
  int64_t numbers = 0;
  for (const auto& [layer, rows] : layers_)
    numbers += rows.keys.columns() + (rows.values.empty() ? 0 : rows.values.columns());
  return numbers;
}

}  // namespace tessera
