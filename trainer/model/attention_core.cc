// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/attention_core.h"

#include "trainer/model/attention_cache.h"

namespace tessera {

AttentionCore::AttentionCore(const LayerContext& context, const Attention& heads)
    : stream_(context.stream), ring_(context_ring(context.comms)), heads_(heads) {}

AttentionCore::Attended AttentionCore::forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                               const Micro& micro, const Pass& pass) const {
  const int64_t rows = q.rows(), heads = heads_.num_heads;
  Attended attended{.out = Tensor(q.device(), q.dtype(), {rows, heads * heads_.v_dim}),
                    .log_sum_exp = Tensor(q.device(), accumulation_type(q.dtype()), {rows, heads}),
                    .document_starts = micro.document_starts,
                    .shape = heads_};
  Attention& shape = attended.shape;
  shape.num_sequences = micro.num_sequences;
  shape.query_length = shape.key_length = micro.sequence_length;
  if (path(pass) == AttentionPath::cache)
    pass.cache->attend(stream_, this, shape, q, k, v, micro.document_starts, attended.out,
                       attended.log_sum_exp);
  else
    ring_.attend(stream_, shape, q, k, v, micro.document_starts, attended.out,
                 attended.log_sum_exp);
  return attended;
}

void AttentionCore::backward(const Attended& attended, const Tensor& q, const Tensor& k,
                             const Tensor& v, const Tensor& dout,
                             const AttentionGradients& gradients) const {
  ring_.attend_backward(stream_, attended.shape, q, k, v, attended.document_starts, attended.out,
                        attended.log_sum_exp, dout, gradients);
}

}  // namespace tessera
