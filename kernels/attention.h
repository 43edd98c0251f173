// SPDX-License-Identifier: Apache-2.0
// Causal attention without the T x T matrix (Dao et al., "FlashAttention", arXiv:2205.14135), with
// grouped queries (arXiv:2305.13245), different head sizes for q/k and v (MLA) and document
// boundaries:
//   out = softmax(scale * q k^T + mask) v;  query i of a sequence sees keys document_start(i) .. p,
//   p = key_length - query_length + i.
// Rows: sequence after sequence, position after position. All matrices may be column slices.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

struct Attention {
  int num_heads = 1;     // of q and out
  int num_kv_heads = 1;  // of k and v; divides num_heads; head h reads kv head h / (heads/kv_heads)
  int qk_dim = 0;        // elements of one head of q and k
  int v_dim = 0;         // elements of one head of v and out
  double scale = 1;      // mostly 1 / sqrt(qk_dim)
  int64_t num_sequences = 1;
  int64_t query_length = 0;  // rows of q per sequence
  int64_t key_length = 0;    // rows of k and v per sequence, >= query_length
};

// q: (sequences * query_length, num_heads * qk_dim) T;  k: (sequences * key_length,
// num_kv_heads * qk_dim) T;  v: (.., num_kv_heads * v_dim) T.
// document_starts: (rows of q) i32, the first key (counted within its sequence) that the row may
// see; an empty Tensor means 0 everywhere.
// Writes out (rows of q, num_heads * v_dim) T and log_sum_exp (rows of q, num_heads)
// accumulation_type(T), which the backward pass needs.
void attention(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
               const Tensor& v, const Tensor& document_starts, const Tensor& out,
               const Tensor& log_sum_exp);

// Writes dq, dk, dv (shapes and dtype of q, k, v). Deterministic: each key's gradient is summed
// over queries in increasing order, over the heads of its group in increasing order.
struct AttentionGradients {
  Tensor dq;
  Tensor dk;
  Tensor dv;
};
void attention_backward(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& document_starts, const Tensor& out,
                        const Tensor& log_sum_exp, const Tensor& dout,
                        const AttentionGradients& gradients);

}  // namespace tessera
