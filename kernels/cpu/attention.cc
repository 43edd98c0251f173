// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {
namespace {

// Head `head` of sequence `sequence`, as the loops want it.
AttentionHead head_of(const Attention& shape, int64_t sequence, int64_t head, const Tensor& q,
                      const Tensor& k, const Tensor& v, const Tensor& document_starts,
                      const Tensor& out, const Tensor& log_sum_exp) {
  const int64_t kv_head = head / (shape.num_heads / shape.num_kv_heads);
  const int64_t query = sequence * shape.query_length, key = sequence * shape.key_length;
  return {
      .element = element_of(q),
      .qk_dim = shape.qk_dim,
      .v_dim = shape.v_dim,
      .query_length = shape.query_length,
      .key_length = shape.key_length,
      .scale = static_cast<float>(shape.scale),
      .document_starts = document_starts.empty() ? nullptr : document_starts.as<int32_t>() + query,
      .q = at(q, query, head * shape.qk_dim),
      .k = at(k, key, kv_head * shape.qk_dim),
      .v = at(v, key, kv_head * shape.v_dim),
      .q_pitch = q.pitch(),
      .k_pitch = k.pitch(),
      .v_pitch = v.pitch(),
      .out = at(out, query, head * shape.v_dim),
      .out_pitch = out.pitch(),
      .log_sum_exp = log_sum_exp.row<float>(query) + head,
      .log_sum_exp_pitch = log_sum_exp.pitch()};
}

Buffer scratch_of(int64_t floats) {
  return Buffer(Device{}, floats * size_of(DType::f32), MemoryClass::other);
}
float* floats_of(const Buffer& buffer) {
  return reinterpret_cast<float*>(buffer.data());
}

}  // namespace

void attention(Stream&, const Attention& shape, const Tensor& q, const Tensor& k, const Tensor& v,
               const Tensor& document_starts, const Tensor& out, const Tensor& log_sum_exp) {
  if (q.rows() == 0) return;
  parallel_for(shape.num_sequences * shape.num_heads, [&](int64_t task) {
    const AttentionHead head = head_of(shape, task / shape.num_heads, task % shape.num_heads, q, k,
                                       v, document_starts, out, log_sum_exp);
    const AttentionLoops& loops_of_type = attention_loops(head.element);
    const Buffer scratch = scratch_of(loops_of_type.forward_scratch(head));
    loops_of_type.forward(head, floats_of(scratch));
  });
}

void attention_backward(Stream&, const Attention& shape, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& document_starts, const Tensor& out,
                        const Tensor& log_sum_exp, const Tensor& dout,
                        const AttentionGradients& gradients) {
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  parallel_for(shape.num_sequences * shape.num_kv_heads, [&](int64_t task) {
    const int64_t sequence = task / shape.num_kv_heads, kv_head = task % shape.num_kv_heads;
    const int64_t query = sequence * shape.query_length, key = sequence * shape.key_length;
    const int64_t head = kv_head * group;
    const AttentionGroup work = {
        .head = head_of(shape, sequence, head, q, k, v, document_starts, out, log_sum_exp),
        .group = group,
        .dout = at(dout, query, head * shape.v_dim),
        .dq = at(gradients.dq, query, head * shape.qk_dim),
        .dk = at(gradients.dk, key, kv_head * shape.qk_dim),
        .dv = at(gradients.dv, key, kv_head * shape.v_dim),
        .dout_pitch = dout.pitch(),
        .dq_pitch = gradients.dq.pitch(),
        .dk_pitch = gradients.dk.pitch(),
        .dv_pitch = gradients.dv.pitch()};
    const AttentionLoops& loops_of_type = attention_loops(work.head.element);
    const Buffer scratch = scratch_of(loops_of_type.backward_scratch(work));
    loops_of_type.backward(work, floats_of(scratch));
  });
}

}  // namespace tessera::cpu
