// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/gqa.h"

#include <algorithm>
#include <cmath>

#include "trainer/model/init.h"

namespace tessera {
namespace {

struct Saved {
  Tensor qkv;        // (T, (heads + 2 kv_heads) * D), q and k rotated
  Tensor positions;  // (T)
  AttentionCore::Attended attended;
};

// The rank's key or value heads. With fewer heads than ranks, neighbours share one.
Parameter key_value(const LayerContext& context, std::string name, const ModelOptions& model) {
  const TensorParallel tensor = context.tensor();
  const int64_t replicas = model.kv_replicas(tensor.size());
  Parameter weight = matrix(std::move(name), model.kv_heads() * model.head_size(),
                            model.hidden_size, model.initializer_range);
  weight.shard = weight.shard.split(0, tensor.rank() / replicas, tensor.size() / replicas);
  if (replicas > 1) weight.replication = Replication::tensor_replicas;
  return weight;
}

}  // namespace

GroupedQueryAttention::GroupedQueryAttention(LayerContext context, const std::string& prefix,
                                             const ModelOptions& model, Tensor rope_table)
    : context_(context),
      num_heads_(model.num_attention_heads / context.tensor().size()),
      num_kv_heads_(std::max<int64_t>(1, model.kv_heads() / context.tensor().size())),
      head_dim_(model.head_size()),
      core_(context, {.num_heads = static_cast<int>(num_heads_),
                      .num_kv_heads = static_cast<int>(num_kv_heads_),
                      .qk_dim = static_cast<int>(head_dim_),
                      .v_dim = static_cast<int>(head_dim_),
                      .scale = 1 / std::sqrt(static_cast<double>(head_dim_))}),
      rope_table_(std::move(rope_table)),
      qkv_(context, Linear::Style::column,
           {cut_rows(matrix(prefix + "q_proj.weight", model.num_attention_heads * head_dim_,
                            model.hidden_size, model.initializer_range),
                     context.tensor()),
            key_value(context, prefix + "k_proj.weight", model),
            key_value(context, prefix + "v_proj.weight", model)}),
      out_(context, Linear::Style::row,
           {cut_columns(matrix(prefix + "o_proj.weight", model.hidden_size,
                               model.num_attention_heads * head_dim_, residual_deviation(model)),
                        context.tensor())}) {}

Tensor GroupedQueryAttention::q(const Tensor& qkv) const {
  return qkv.column_slice(0, num_heads_ * head_dim_);
}
Tensor GroupedQueryAttention::k(const Tensor& qkv) const {
  return qkv.column_slice(num_heads_ * head_dim_, num_kv_heads_ * head_dim_);
}
Tensor GroupedQueryAttention::v(const Tensor& qkv) const {
  return qkv.column_slice((num_heads_ + num_kv_heads_) * head_dim_, num_kv_heads_ * head_dim_);
}

// q and k are neighbours and their heads have one size: one rotation for both.
void GroupedQueryAttention::rotate(const Tensor& qkv, const Tensor& positions, bool inverse) const {
  const Rope rotation{.num_heads = static_cast<int>(num_heads_ + num_kv_heads_),
                      .head_dim = static_cast<int>(head_dim_),
                      .offset = 0,
                      .rotary_dim = static_cast<int>(head_dim_),
                      .pairing = RopePairing::half_split,
                      .inverse = inverse};
  rope(context_.stream, rotation, positions, rope_table_,
       qkv.column_slice(0, (num_heads_ + num_kv_heads_) * head_dim_));
}

Tensor GroupedQueryAttention::forward(const Tensor& x, const Micro& micro, Pass pass) {
  const Tensor qkv = qkv_.forward(x, micro, pass);
  rotate(qkv, micro.positions, false);
  const AttentionCore::Attended attended = core_.forward(q(qkv), k(qkv), v(qkv), micro, pass);
  if (pass.tape) pass.tape->frame<Saved>(this) = {qkv, micro.positions, attended};
  return out_.forward(attended.out, micro, pass);
}

Tensor GroupedQueryAttention::backward_input(const Tensor& dy, Tape& tape) {
  const Tensor dout = out_.backward_input(dy, tape);
  const Saved& saved = tape.frame<Saved>(this);
  const Tensor dqkv(dout.device(), dout.dtype(), {dout.rows(), saved.qkv.columns()});
  core_.backward(saved.attended, q(saved.qkv), k(saved.qkv), v(saved.qkv), dout,
                 {.dq = q(dqkv), .dk = k(dqkv), .dv = v(dqkv)});
  rotate(dqkv, saved.positions, true);
  tape.release(this);
  return qkv_.backward_input(dqkv, tape);
}

void GroupedQueryAttention::backward_weight(Tape& tape) {
  out_.backward_weight(tape);
  qkv_.backward_weight(tape);
}

std::vector<Stack> GroupedQueryAttention::weights() const {
  return {qkv_.weights().front(), out_.weights().front()};
}

}  // namespace tessera
