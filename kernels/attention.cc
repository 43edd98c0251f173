// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {
namespace {

// What forward and backward have in common.
void check_attention(const Arguments& arguments, const Attention& shape, const Tensor& q,
                     const Tensor& k, const Tensor& v, const Tensor& document_starts,
                     const Tensor& out, const Tensor& log_sum_exp) {
  arguments.on_device({{"q", q}, {"k", k}, {"v", v}, {"out", out}, {"log_sum_exp", log_sum_exp}});
  arguments.holds(
      shape.num_heads > 0 && shape.num_kv_heads > 0 && shape.num_heads % shape.num_kv_heads == 0,
      "num_heads to be a multiple of num_kv_heads");
  arguments.holds(shape.qk_dim > 0 && shape.v_dim > 0, "positive head sizes");
  arguments.holds(shape.scale > 0, "a positive scale");
  arguments.holds(shape.query_length >= 0 && shape.query_length <= shape.key_length,
                  "query_length <= key_length");
  arguments.computable({"q", q});
  for (const Argument& other : {Argument{"k", k}, Argument{"v", v}, Argument{"out", out}})
    arguments.same_type({"q", q}, other);
  const int64_t query_rows = shape.num_sequences * shape.query_length;
  const int64_t key_rows = shape.num_sequences * shape.key_length;
  arguments.matrix({"q", q}, query_rows, int64_t{shape.num_heads} * shape.qk_dim);
  arguments.matrix({"k", k}, key_rows, int64_t{shape.num_kv_heads} * shape.qk_dim);
  arguments.matrix({"v", v}, key_rows, int64_t{shape.num_kv_heads} * shape.v_dim);
  arguments.matrix({"out", out}, query_rows, int64_t{shape.num_heads} * shape.v_dim);
  arguments.matrix({"log_sum_exp", log_sum_exp}, query_rows, shape.num_heads);
  arguments.of_type({"log_sum_exp", log_sum_exp}, accumulation_type(q.dtype()));
  if (document_starts.empty()) return;
  arguments.on_device({{"document_starts", document_starts}});
  arguments.vector({"document_starts", document_starts}, query_rows);
  arguments.of_type({"document_starts", document_starts}, DType::i32);
}

}  // namespace

void attention(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
               const Tensor& v, const Tensor& document_starts, const Tensor& out,
               const Tensor& log_sum_exp) {
  check_attention(Arguments(stream, "attention:"), shape, q, k, v, document_starts, out,
                  log_sum_exp);
  stream.backend().attention(stream, shape, q, k, v, document_starts, out, log_sum_exp);
}

void attention_backward(Stream& stream, const Attention& shape, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& document_starts, const Tensor& out,
                        const Tensor& log_sum_exp, const Tensor& dout,
                        const AttentionGradients& gradients) {
  const Arguments arguments(stream, "attention_backward:");
  check_attention(arguments, shape, q, k, v, document_starts, out, log_sum_exp);
  const Argument dq{"dq", gradients.dq}, dk{"dk", gradients.dk}, dv{"dv", gradients.dv};
  arguments.on_device({{"dout", dout}, dq, dk, dv});
  for (const Argument& other : {Argument{"dout", dout}, dq, dk, dv})
    arguments.same_type({"q", q}, other);
  arguments.same_shape({"out", out}, {"dout", dout});
  arguments.same_shape({"q", q}, dq);
  arguments.same_shape({"k", k}, dk);
  arguments.same_shape({"v", v}, dv);
  stream.backend().attention_backward(stream, shape, q, k, v, document_starts, out, log_sum_exp,
                                      dout, gradients);
}

}  // namespace tessera
