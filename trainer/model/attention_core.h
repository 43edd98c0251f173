// SPDX-License-Identifier: Apache-2.0
// An AttentionCore lies between the projections of an attention layer, grouped-query (gqa.h) or
// latent (mla.h): it takes queries, keys and values and gives weighted sums of values. It alone
// decides who computes them: the
// pass's cache where there is one, else the ring of the context axis, which calls the device's
// kernels.
#pragma once

#include "kernels/attention.h"
#include "trainer/model/context_ring.h"
#include "trainer/model/layer.h"

namespace tessera {

enum class AttentionPath { ring, cache };

class AttentionCore {
 public:
  // heads: their numbers and sizes, and the scale; lengths are those of each microbatch.
  AttentionCore(const LayerContext& context, const Attention& heads);
  // A cache tells layers by their addresses.
  AttentionCore(const AttentionCore&) = delete;
  AttentionCore& operator=(const AttentionCore&) = delete;

  // One forward pass: the result, and what backward() needs of it.
  struct Attended {
    Tensor out;              // (T, heads * v_dim)
    Tensor log_sum_exp;      // (T, heads)
    Tensor document_starts;  // (T) or empty
    Attention shape;
  };
  static AttentionPath path(const Pass& pass) {
    return pass.cache ? AttentionPath::cache : AttentionPath::ring;
  }
  // q (T, heads * qk_dim), k (T, kv_heads * qk_dim), v (T, kv_heads * v_dim); v may be empty with
  // a cache (attention_cache.h).
  Attended forward(const Tensor& q, const Tensor& k, const Tensor& v, const Micro& micro,
                   const Pass& pass) const;
  // Writes the gradients of what forward() was given, in a pass without a cache.
  void backward(const Attended& attended, const Tensor& q, const Tensor& k, const Tensor& v,
                const Tensor& dout, const AttentionGradients& gradients) const;

 private:
  Stream& stream_;
  const ContextRing& ring_;
  Attention heads_;
};

}  // namespace tessera
