// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/linear.h"

namespace tessera {
namespace {

struct Saved {
  Tensor x;   // (T, in)
  Tensor dy;  // (T, out)
};

}  // namespace

Tensor matmul(Stream& stream, const Tensor& a, const Tensor& b, bool transpose_b) {
  const Tensor c(stream.device(), a.dtype(), {a.rows(), transpose_b ? b.rows() : b.columns()});
  gemm(stream, {.a = a, .b = b, .c = c, .transpose_b = transpose_b});
  return c;
}

Parameter matrix(std::string name, int64_t rows, int64_t columns, double deviation) {
  Parameter parameter;
  parameter.name = std::move(name);
  parameter.shard = ShardSpec::whole({rows, columns});
  parameter.init_deviation = deviation;
  return parameter;
}

Tensor Linear::forward(const Tensor& x, const Micro&, Tape* tape) {
  if (tape) tape->frame<Saved>(this).x = x;
  return matmul(context_.stream, x, context_.store.value(weight_), true);
}

Tensor Linear::backward_input(const Tensor& dy, Tape& tape) {
  tape.frame<Saved>(this).dy = dy;
  return matmul(context_.stream, dy, context_.store.value(weight_));
}

void Linear::backward_weight(Tape& tape) {
  const Saved& saved = tape.frame<Saved>(this);
  gemm(context_.stream, {.a = saved.dy,
                         .b = saved.x,
                         .c = context_.store.grad(weight_),
                         .transpose_a = true,
                         .accumulate = true});
  tape.release(this);
}

std::vector<int> Linear::parameters() const {
  std::vector<int> all;
  for (int i = 0; i < weight_.count; ++i) all.push_back(weight_.first + i);
  return all;
}

}  // namespace tessera
