// SPDX-License-Identifier: Apache-2.0
#include "kernels/attention.h"

#include <cmath>
#include <limits>
#include <vector>

namespace tessera::reference {
namespace {

double dot(const double* a, const double* b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += a[i] * b[i];
  return sum;
}

// Where one (sequence, query, head) finds its elements, and which keys it sees: [first, last].
struct Query {
  int64_t row, q_column, out_column, k_column, v_column, first_key_row, first, last;
};

template <typename Function>
void for_each_query(const Attention& shape, const Tensor& document_starts, Function function) {
  const int64_t group = shape.num_heads / shape.num_kv_heads;
  for (int64_t sequence = 0; sequence < shape.num_sequences; ++sequence) {
    for (int64_t head = 0; head < shape.num_heads; ++head) {
      for (int64_t i = 0; i < shape.query_length; ++i) {
        const int64_t row = sequence * shape.query_length + i;
        const int64_t first = document_starts.empty() ? 0 : document_starts.as<int32_t>()[row];
        function(Query{row, head * shape.qk_dim, head * shape.v_dim, head / group * shape.qk_dim,
                       head / group * shape.v_dim, sequence * shape.key_length, first,
                       shape.key_length - shape.query_length + i},
                 head);
      }
    }
  }
}

}  // namespace

void attention(Stream&, const Attention& shape, const Tensor& q, const Tensor& k, const Tensor& v,
               const Tensor& document_starts, const Tensor& out, const Tensor& log_sum_exp) {
  std::vector<double> scores(static_cast<size_t>(shape.key_length));
  for_each_query(shape, document_starts, [&](const Query& at, int64_t head) {
    const double* query = q.row<double>(at.row) + at.q_column;
    double maximum = -std::numeric_limits<double>::infinity();
    for (int64_t j = at.first; j <= at.last; ++j) {
      double& score = scores[static_cast<size_t>(j)];
      score =
          shape.scale * dot(query, k.row<double>(at.first_key_row + j) + at.k_column, shape.qk_dim);
      maximum = std::max(maximum, score);
    }
    double sum = 0;
    for (int64_t j = at.first; j <= at.last; ++j)
      sum += std::exp(scores[static_cast<size_t>(j)] - maximum);
    const double lse = maximum + std::log(sum);
    log_sum_exp.row<double>(at.row)[head] = lse;
    double* result = out.row<double>(at.row) + at.out_column;
    for (int64_t i = 0; i < shape.v_dim; ++i) result[i] = 0;
    for (int64_t j = at.first; j <= at.last; ++j) {
      const double p = std::exp(scores[static_cast<size_t>(j)] - lse);
      const double* value = v.row<double>(at.first_key_row + j) + at.v_column;
      for (int64_t i = 0; i < shape.v_dim; ++i) result[i] += p * value[i];
    }
  });
}

// With s = scale q k^T, p = exp(s - lse), dp = dout v^T and delta = <dout, out>:
//   dv += p dout;  ds = p (dp - delta);  dq += scale ds k;  dk += scale ds q
void attention_backward(Stream&, const Attention& shape, const Tensor& q, const Tensor& k,
                        const Tensor& v, const Tensor& document_starts, const Tensor& out,
                        const Tensor& log_sum_exp, const Tensor& dout,
                        const AttentionGradients& gradients) {
  for (const Tensor& gradient : {gradients.dq, gradients.dk, gradients.dv})
    for (int64_t r = 0; r < gradient.rows(); ++r)
      for (int64_t c = 0; c < gradient.columns(); ++c) gradient.row<double>(r)[c] = 0;
  for_each_query(shape, document_starts, [&](const Query& at, int64_t head) {
    const double* query = q.row<double>(at.row) + at.q_column;
    const double* dresult = dout.row<double>(at.row) + at.out_column;
    const double delta = dot(dresult, out.row<double>(at.row) + at.out_column, shape.v_dim);
    const double lse = log_sum_exp.row<double>(at.row)[head];
    for (int64_t j = at.first; j <= at.last; ++j) {
      const int64_t key_row = at.first_key_row + j;
      const double* key = k.row<double>(key_row) + at.k_column;
      const double* value = v.row<double>(key_row) + at.v_column;
      const double p = std::exp(shape.scale * dot(query, key, shape.qk_dim) - lse);
      const double ds = shape.scale * p * (dot(dresult, value, shape.v_dim) - delta);
      for (int64_t i = 0; i < shape.v_dim; ++i)
        gradients.dv.row<double>(key_row)[at.v_column + i] += p * dresult[i];
      for (int64_t i = 0; i < shape.qk_dim; ++i) {
        gradients.dq.row<double>(at.row)[at.q_column + i] += ds * key[i];
        gradients.dk.row<double>(key_row)[at.k_column + i] += ds * query[i];
      }
    }
  });
}

}  // namespace tessera::reference
