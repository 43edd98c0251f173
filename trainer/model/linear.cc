// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/linear.h"

namespace tessera {
namespace {

struct Saved {
  Tensor x;          // (t, in), or (T, in / ranks) of a row layer
  Tensor dy;         // (T, out / ranks), or (T, out) of a row layer
  int64_t rows = 0;  // T
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

Parameter cut_rows(Parameter whole, const TensorParallel& tensor) {
  whole.shard = whole.shard.split(0, tensor.rank(), tensor.size());
  return whole;
}

Parameter cut_columns(Parameter whole, const TensorParallel& tensor) {
  whole.shard = whole.shard.split(1, tensor.rank(), tensor.size());
  return whole;
}

void add_weight_gradient(const LayerContext& context, Stack weight, const Tensor& dy,
                         const Tensor& x) {
  const auto [sum, accumulate] = context.store.grad_target(weight);
  gemm(context.stream, {.a = dy, .b = x, .c = sum, .transpose_a = true, .accumulate = accumulate});
}

Linear::Linear(LayerContext context, Style style, std::vector<Parameter> members)
    : context_(context), tensor_(context.tensor()), style_(style) {
  if (style == Style::replicated)
    for (Parameter& member : members) member.replication = Replication::tensor;
  weight_ = context.store.add(std::move(members));
}

Tensor Linear::forward(const Tensor& x, const Micro& micro, Pass pass) {
  if (pass.tape) pass.tape->frame<Saved>(this) = {.x = x, .dy = {}, .rows = micro.rows()};
  const Tensor whole =
      style_ == Style::column ? tensor_.gather_rows(x, micro.rows(), "activations") : x;
  const Tensor y = matmul(context_.stream, whole, context_.store.value(weight_), true);
  return style_ == Style::row ? tensor_.scatter_sum_rows(y, "activations") : y;
}

Tensor Linear::backward_input(const Tensor& dy, Tape& tape) {
  Saved& saved = tape.frame<Saved>(this);
  saved.dy =
      style_ == Style::row ? tensor_.gather_rows(dy, saved.rows, "activation gradients") : dy;
  const Tensor dx = matmul(context_.stream, saved.dy, context_.store.value(weight_));
  return style_ == Style::column ? tensor_.scatter_sum_rows(dx, "activation gradients") : dx;
}

// A column layer keeps its slice of the tokens and gathers the others again.
void Linear::backward_weight(Tape& tape) {
  const Saved& saved = tape.frame<Saved>(this);
  const Tensor whole =
      style_ == Style::column ? tensor_.gather_rows(saved.x, saved.rows, "activations") : saved.x;
  add_weight_gradient(context_, weight_, saved.dy, whole);
  tape.release(this);
}

void Linear::drop_input(Tape& tape) {
  tape.frame<Saved>(this).x = {};
}

void Linear::restore_input(Tape& tape, const Tensor& x) {
  tape.frame<Saved>(this).x = x;
}

}  // namespace tessera
