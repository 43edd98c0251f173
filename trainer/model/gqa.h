// SPDX-License-Identifier: Apache-2.0
// Grouped-query attention with rotary embedding (Llama; arXiv:2305.13245, arXiv:2104.09864):
// Under tensor parallelism the heads are dealt to the ranks; every rank attends over all T tokens.
//   q, k, v = split(x W_qkv^T);  out = W_o concat_heads(softmax(RoPE(q) RoPE(k)^T / sqrt(D)) v)
#pragma once

#include "kernels/rope.h"
#include "trainer/model/attention_core.h"
#include "trainer/model/linear.h"
#include "trainer/model/options.h"

namespace tessera {

class GroupedQueryAttention : public Layer {
 public:
  // prefix: "model.layers.3.self_attn."; rope_table: kernels/rope.h, shared by all layers.
  GroupedQueryAttention(LayerContext context, const std::string& prefix, const ModelOptions& model,
                        Tensor rope_table);
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;  // (T, H) -> (T, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override;
  void drop_input(Tape& tape) override { qkv_.drop_input(tape); }
  void restore_input(Tape& tape, const Tensor& x) override { qkv_.restore_input(tape, x); }

 private:
  void rotate(const Tensor& qk, const Tensor& positions, bool inverse) const;
  Tensor q(const Tensor& qkv) const;  // column slices of (T, (heads + 2 kv_heads) * D)
  Tensor k(const Tensor& qkv) const;
  Tensor v(const Tensor& qkv) const;

  LayerContext context_;
  int64_t num_heads_;  // this rank's, of the tensor group
  int64_t num_kv_heads_;
  int64_t head_dim_;
  AttentionCore core_;
  Tensor rope_table_;
  Linear qkv_;
  Linear out_;
};

}  // namespace tessera
