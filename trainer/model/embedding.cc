// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/embedding.h"

#include "kernels/embedding.h"
#include "trainer/model/linear.h"

namespace tessera {
namespace {

struct Saved {
  Tensor tokens;  // (T) i32
  Tensor dy;      // (T, H)
};

}  // namespace

Embedding::Embedding(LayerContext context, std::string name, int64_t vocab_size,
                     int64_t hidden_size, double deviation, bool decay)
    : context_(context) {
  Parameter table = matrix(std::move(name), vocab_size, hidden_size, deviation);
  table.decay = decay;
  table_ = context.store.add(std::move(table));
}

Tensor Embedding::forward(const Tensor&, const Micro& micro, Tape* tape) {
  const Tensor table = context_.store.value(table_);
  const Tensor out(table.device(), table.dtype(), {micro.rows(), table.columns()});
  embedding(context_.stream, micro.tokens, 0, table, out);
  if (tape) tape->frame<Saved>(this).tokens = micro.tokens;
  return out;
}

Tensor Embedding::backward_input(const Tensor& dy, Tape& tape) {
  tape.frame<Saved>(this).dy = dy;
  return {};
}

void Embedding::backward_weight(Tape& tape) {
  const Saved& saved = tape.frame<Saved>(this);
  embedding_backward(context_.stream, saved.tokens, 0, saved.dy, context_.store.grad(table_));
  tape.release(this);
}

}  // namespace tessera
