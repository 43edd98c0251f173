// SPDX-License-Identifier: Apache-2.0
// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, 2.1; DeepSeek-V3, arXiv:2412.19437,
// eq 1-11), of x (t, H), the normalised rows of this tensor rank, T in all:
//   c, kr = split(x W_kva^T)              (t, kv_lora), (t, rope): the latent; one key for all
//   heads q     = RmsNorm(x W_qa^T) W_qb^T      or x W_q^T without query compression kv    =
//   RmsNorm(c) W_kvb^T            of each head (k_nope | v) out   = W_o concat_heads(softmax(scale
//   [q_nope, RoPE(q_rope)] [k_nope, RoPE(kr)]^T) v)
// scale = (nope + rope)^-1/2 m^2, m YaRN's factor. Rotary pairs are interleaved. Under tensor
// parallelism heads are dealt to the ranks; W_qa, W_kva and both norms are whole on each and see
// its rows; the up-projections gather the latents, which are narrow. With selective recompute q, k
// and v are made again from the latents (DeepSeek-V3, 3.2.3). With a cache (inference) a token is
// kept as its latent and shared key, kv_lora + rope numbers, and W_kvb is absorbed into q and out.
#pragma once

#include <memory>

#include "kernels/latent_heads.h"
#include "kernels/rope.h"
#include "trainer/model/attention_core.h"
#include "trainer/model/linear.h"
#include "trainer/model/norm.h"
#include "trainer/model/options.h"

namespace tessera {

class LatentAttention : public Layer {
 public:
  // prefix: "model.layers.3.self_attn."; rope_table: latent_rope_table(), shared by all layers.
  LatentAttention(LayerContext context, const std::string& prefix, const ModelOptions& model,
                  Tensor rope_table);
  Tensor forward(const Tensor& x, const Micro& micro, Pass pass) override;  // (t, H) -> (t, H)
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  std::vector<Stack> weights() const override;
  void drop_input(Tape& tape) override;
  void restore_input(Tape& tape, const Tensor& x) override;

 private:
  // What attention reads, q and k rotated.
  struct Heads {
    Tensor q;  // (T, heads * (nope + rope))
    Tensor k;  // (T, heads * (nope + rope))
    Tensor v;  // (T, heads * v)
  };
  Tensor latent_queries(const Tensor& down) const { return down.column_slice(0, q_rank_); }
  Tensor latent(const Tensor& down) const { return down.column_slice(q_rank_, kv_rank_); }
  Tensor shared_key(const Tensor& down, const Micro& micro) const;  // (T, rope), rotated
  Tensor queries(const Tensor& x, const Tensor& down, const Micro& micro, const Pass& pass);
  Heads heads(const Tensor& q, const Tensor& latents, const Tensor& down, const Micro& micro,
              const Pass& pass);
  Heads made_again(const Micro& micro, Tape& tape);
  Tensor absorbed(const Tensor& q, const Tensor& latents, const Tensor& down, const Micro& micro,
                  const Pass& pass);
  void rotate(const Tensor& x, int64_t num_heads, int64_t offset, const Tensor& positions,
              bool inverse) const;

  LayerContext context_;
  int64_t q_rank_, kv_rank_;  // 0: queries are not compressed
  int64_t num_heads_;         // this rank's
  LatentHeads sizes_;
  AttentionCore core_;      // over keys and values of each head
  AttentionCore absorbed_;  // over latents and the shared key: one key head, its latent the value
  Tensor rope_table_;
  Linear down_;                      // (q_rank + kv_rank + rope, H)
  std::unique_ptr<RmsNorm> q_norm_;  // null: queries are not compressed
  Linear q_;                         // from the latent or, without compression, from x
  RmsNorm kv_norm_;
  Linear kv_up_;  // (heads * (nope + v), kv_rank)
  Linear out_;
};

// Cosines and sines of positions 0 .. positions-1 for the rotated part of a head, with YaRN where
// the model has it.
Tensor latent_rope_table(Device device, DType dtype, const ModelOptions& model, int64_t positions);

}  // namespace tessera
