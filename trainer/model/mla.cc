// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/mla.h"

#include <cmath>

#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "trainer/model/init.h"

namespace tessera {
namespace {

// Of both latent norms: DeepSeek's modelling code leaves it at its default, whatever rms_norm_eps.
constexpr double kLatentEpsilon = 1e-6;

struct Saved {
  Tensor down;     // (t, q_rank + kv_rank + rope)
  Tensor q, k, v;  // as attention reads them; empty: to be made again
  Tensor x;        // selective recompute without query compression: q is made of it
  AttentionCore::Attended attended;
  const Micro* micro = {};  // outlives the tape
};

std::vector<Parameter> down_projections(const std::string& prefix, const ModelOptions& model) {
  std::vector<Parameter> members;
  if (model.q_lora_rank > 0)
    members.push_back(matrix(prefix + "q_a_proj.weight", model.q_lora_rank, model.hidden_size,
                             model.initializer_range));
  members.push_back(matrix(prefix + "kv_a_proj_with_mqa.weight",
                           model.kv_lora_rank + model.qk_rope_head_dim, model.hidden_size,
                           model.initializer_range));
  return members;
}

Parameter query_projection(const LayerContext& context, const std::string& prefix,
                           const ModelOptions& model) {
  const int64_t rows =
      model.num_attention_heads * (model.qk_nope_head_dim + model.qk_rope_head_dim);
  const bool compressed = model.q_lora_rank > 0;
  return cut_rows(
      matrix(prefix + (compressed ? "q_b_proj.weight" : "q_proj.weight"), rows,
             compressed ? model.q_lora_rank : model.hidden_size, model.initializer_range),
      context.tensor());
}

double softmax_scale(const ModelOptions& model) {
  const RopeScaling& yarn = model.rope_scaling;
  const double m = !yarn.type ? 1 : yarn_attention_factor(yarn.factor, yarn.mscale_all_dim);
  return m * m / std::sqrt(static_cast<double>(model.qk_nope_head_dim + model.qk_rope_head_dim));
}

}  // namespace

Tensor latent_rope_table(Device device, DType dtype, const ModelOptions& model, int64_t positions) {
  const int dim = static_cast<int>(model.qk_rope_head_dim);
  const RopeScaling& yarn = model.rope_scaling;
  if (!yarn.type)
    return rope_table(device, dtype, rope_inverse_frequencies(dim, model.rope_theta), positions);
  const std::vector<double> frequencies =
      yarn_inverse_frequencies(dim, model.rope_theta,
                               {.factor = yarn.factor,
                                .original_length = yarn.original_max_position_embeddings,
                                .beta_fast = yarn.beta_fast,
                                .beta_slow = yarn.beta_slow});
  return rope_table(device, dtype, frequencies, positions,
                    yarn_attention_factor(yarn.factor, yarn.mscale) /
                        yarn_attention_factor(yarn.factor, yarn.mscale_all_dim));
}

LatentAttention::LatentAttention(LayerContext context, const std::string& prefix,
                                 const ModelOptions& model, Tensor rope_table)
    : context_(context),
      q_rank_(model.q_lora_rank),
      kv_rank_(model.kv_lora_rank),
      num_heads_(model.num_attention_heads / context.tensor().size()),
      sizes_{.num_heads = static_cast<int>(num_heads_),
             .nope_dim = static_cast<int>(model.qk_nope_head_dim),
             .rope_dim = static_cast<int>(model.qk_rope_head_dim),
             .v_dim = static_cast<int>(model.v_head_dim)},
      core_(context, {.num_heads = sizes_.num_heads,
                      .num_kv_heads = sizes_.num_heads,
                      .qk_dim = sizes_.nope_dim + sizes_.rope_dim,
                      .v_dim = sizes_.v_dim,
                      .scale = softmax_scale(model)}),
      absorbed_(context, {.num_heads = sizes_.num_heads,
                          .num_kv_heads = 1,
                          .qk_dim = static_cast<int>(kv_rank_) + sizes_.rope_dim,
                          .v_dim = static_cast<int>(kv_rank_),
                          .scale = softmax_scale(model)}),
      rope_table_(std::move(rope_table)),
      down_(context, Linear::Style::replicated, down_projections(prefix, model)),
      q_norm_(q_rank_ == 0 ? nullptr
                           : std::make_unique<RmsNorm>(context, prefix + "q_a_layernorm.weight",
                                                       q_rank_, kLatentEpsilon)),
      q_(context, Linear::Style::column, {query_projection(context, prefix, model)}),
      kv_norm_(context, prefix + "kv_a_layernorm.weight", kv_rank_, kLatentEpsilon),
      kv_up_(
          context, Linear::Style::column,
          {cut_rows(matrix(prefix + "kv_b_proj.weight",
                           model.num_attention_heads * (model.qk_nope_head_dim + model.v_head_dim),
                           kv_rank_, model.initializer_range),
                    context.tensor())}),
      out_(context, Linear::Style::row,
           {cut_columns(
               matrix(prefix + "o_proj.weight", model.hidden_size,
                      model.num_attention_heads * model.v_head_dim, residual_deviation(model)),
               context.tensor())}) {}

void LatentAttention::rotate(const Tensor& x, int64_t num_heads, int64_t offset,
                             const Tensor& positions, bool inverse) const {
  const Rope rotation{.num_heads = static_cast<int>(num_heads),
                      .head_dim = static_cast<int>(x.columns() / num_heads),
                      .offset = static_cast<int>(offset),
                      .rotary_dim = sizes_.rope_dim,
                      .pairing = RopePairing::interleaved,
                      .inverse = inverse};
  rope(context_.stream, rotation, positions, rope_table_, x);
}

Tensor LatentAttention::shared_key(const Tensor& down, const Micro& micro) const {
  const Tensor mine(down.device(), down.dtype(), {down.rows(), int64_t{sizes_.rope_dim}});
  copy(context_.stream, down.column_slice(q_rank_ + kv_rank_, sizes_.rope_dim), mine);
  const Tensor key = context_.tensor().gather_rows(mine, micro.rows(), "activations");
  rotate(key, 1, 0, micro.positions, false);
  return key;
}

Tensor LatentAttention::queries(const Tensor& x, const Tensor& down, const Micro& micro,
                                const Pass& pass) {
  if (!q_norm_) return q_.forward(x, micro, pass);
  return q_.forward(q_norm_->forward(latent_queries(down), micro, pass), micro, pass);
}

LatentAttention::Heads LatentAttention::heads(const Tensor& q, const Tensor& latents,
                                              const Tensor& down, const Micro& micro,
                                              const Pass& pass) {
  rotate(q, num_heads_, sizes_.nope_dim, micro.positions, false);
  const Tensor up = kv_up_.forward(latents, micro, pass);
  const Tensor k(q.device(), q.dtype(), {q.rows(), q.columns()});
  const Tensor v(q.device(), q.dtype(), {q.rows(), num_heads_ * sizes_.v_dim});
  latent_heads(context_.stream, sizes_, up, shared_key(down, micro), k, v);
  return {q, k, v};
}

Tensor LatentAttention::forward(const Tensor& x, const Micro& micro, Pass pass) {
  const Tensor down = down_.forward(x, micro, pass);
  const Tensor q = queries(x, down, micro, pass);
  const Tensor latents = kv_norm_.forward(latent(down), micro, pass);
  if (AttentionCore::path(pass) == AttentionPath::cache)
    return out_.forward(absorbed(q, latents, down, micro, pass), micro, pass);
  const Heads made = heads(q, latents, down, micro, pass);
  const AttentionCore::Attended attended = core_.forward(made.q, made.k, made.v, micro, pass);
  const Tensor y = out_.forward(attended.out, micro, pass);
  if (!pass.tape) return y;
  Saved& saved = pass.tape->frame<Saved>(this);
  saved.down = down;
  saved.attended = attended;
  saved.micro = &micro;
  if (context_.selective_recompute) {
    kv_up_.drop_input(*pass.tape);
    if (q_norm_) q_.drop_input(*pass.tape);
    saved.x = x;  // until drop_input()
  } else {
    saved.q = made.q;
    saved.k = made.k;
    saved.v = made.v;
  }
  return y;
}

// Here and not with the weights' half: ZeRO-3 has the weights at hand in backward_input().
LatentAttention::Heads LatentAttention::made_again(const Micro& micro, Tape& tape) {
  const Saved& saved = tape.frame<Saved>(this);
  const Tensor latents = kv_norm_.output(tape);
  kv_up_.restore_input(tape, latents);
  Tensor query_input = saved.x;
  if (q_norm_) {
    query_input = q_norm_->output(tape);
    q_.restore_input(tape, query_input);
  }
  return heads(q_.forward(query_input, micro, nullptr), latents, saved.down, micro, nullptr);
}

Tensor LatentAttention::backward_input(const Tensor& dy, Tape& tape) {
  const Tensor dout = out_.backward_input(dy, tape);
  const Saved saved = tape.frame<Saved>(this);
  const Micro& micro = *saved.micro;
  const Heads made = saved.q.empty() ? made_again(micro, tape) : Heads{saved.q, saved.k, saved.v};
  tape.release(this);
  const auto like = [&](const Tensor& x) {
    return Tensor(x.device(), x.dtype(), {x.rows(), x.columns()});
  };
  const Tensor dq = like(made.q), dk = like(made.k), dv = like(made.v);
  core_.backward(saved.attended, made.q, made.k, made.v, dout, {.dq = dq, .dk = dk, .dv = dv});
  rotate(dq, num_heads_, sizes_.nope_dim, micro.positions, true);
  const Tensor dup(dq.device(), dq.dtype(),
                   {dq.rows(), num_heads_ * (sizes_.nope_dim + sizes_.v_dim)});
  const Tensor dkey(dq.device(), dq.dtype(), {dq.rows(), int64_t{sizes_.rope_dim}});
  latent_heads_backward(context_.stream, sizes_, dk, dv, dup, dkey);
  rotate(dkey, 1, 0, micro.positions, true);

  // The gradient of what down_ made, part by part.
  const Tensor ddown = like(saved.down);
  copy(context_.stream, context_.tensor().scatter_sum_rows(dkey, "activation gradients"),
       ddown.column_slice(q_rank_ + kv_rank_, sizes_.rope_dim));
  copy(context_.stream, kv_norm_.backward_input(kv_up_.backward_input(dup, tape), tape),
       latent(ddown));
  const Tensor dqueries = q_.backward_input(dq, tape);
  if (q_norm_)
    copy(context_.stream, q_norm_->backward_input(dqueries, tape), latent_queries(ddown));
  const Tensor dx = down_.backward_input(ddown, tape);
  if (!q_norm_) add(context_.stream, dqueries, dx, dx);
  return dx;
}

void LatentAttention::backward_weight(Tape& tape) {
  out_.backward_weight(tape);
  kv_up_.backward_weight(tape);
  kv_norm_.backward_weight(tape);
  q_.backward_weight(tape);
  if (q_norm_) q_norm_->backward_weight(tape);
  down_.backward_weight(tape);
}

std::vector<Stack> LatentAttention::weights() const {
  std::vector<Stack> all = {out_.weights().front(), kv_up_.weights().front(),
                            kv_norm_.weights().front(), q_.weights().front()};
  if (q_norm_) all.push_back(q_norm_->weights().front());
  all.push_back(down_.weights().front());
  return all;
}

void LatentAttention::drop_input(Tape& tape) {
  tape.frame<Saved>(this).x = {};
  down_.drop_input(tape);
  if (!q_norm_) q_.drop_input(tape);
}

void LatentAttention::restore_input(Tape& tape, const Tensor& x) {
  tape.frame<Saved>(this).x = x;
  down_.restore_input(tape, x);
  if (!q_norm_) q_.restore_input(tape, x);
}

// (T, heads * v) without keys or values of any head: scores are q_nope W_uk against the latent plus
// q_rope against the shared key, and W_uv follows the sum (DeepSeek-V2, 2.1.2).
Tensor LatentAttention::absorbed(const Tensor& q, const Tensor& latents, const Tensor& down,
                                 const Micro& micro, const Pass& pass) {
  Stream& stream = context_.stream;
  rotate(q, num_heads_, sizes_.nope_dim, micro.positions, false);
  const int64_t width = kv_rank_ + sizes_.rope_dim, rows = q.rows();
  const Tensor keys(q.device(), q.dtype(), {rows, width});
  copy(stream, latents, keys.column_slice(0, kv_rank_));
  copy(stream, shared_key(down, micro), keys.column_slice(kv_rank_, sizes_.rope_dim));

  const Tensor up = context_.store.value(kv_up_.weights().front());
  const int64_t of_head = sizes_.nope_dim + sizes_.rope_dim;
  const Tensor wide(q.device(), q.dtype(), {rows, num_heads_ * width});
  for (int64_t head = 0; head < num_heads_; ++head) {
    const int64_t first = head * (sizes_.nope_dim + sizes_.v_dim);
    gemm(stream, {.a = q.column_slice(head * of_head, sizes_.nope_dim),
                  .b = up.row_slice(first, sizes_.nope_dim),
                  .c = wide.column_slice(head * width, kv_rank_)});
    copy(stream, q.column_slice(head * of_head + sizes_.nope_dim, sizes_.rope_dim),
         wide.column_slice(head * width + kv_rank_, sizes_.rope_dim));
  }
  const Tensor sums = absorbed_.forward(wide, keys, {}, micro, pass).out;
  const Tensor out(q.device(), q.dtype(), {rows, num_heads_ * sizes_.v_dim});
  for (int64_t head = 0; head < num_heads_; ++head)
    gemm(stream, {.a = sums.column_slice(head * kv_rank_, kv_rank_),
                  .b = up.row_slice(head * (sizes_.nope_dim + sizes_.v_dim) + sizes_.nope_dim,
                                    sizes_.v_dim),
                  .c = out.column_slice(head * sizes_.v_dim, sizes_.v_dim),
                  .transpose_b = true});
  return out;
}

}  // namespace tessera
