// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/embedding.h"

#include "kernels/embedding.h"

namespace tessera {
namespace {

struct Saved {
  Tensor tokens;  // (T) i32
  Tensor dy;      // (t, H)
};

}  // namespace

Embedding::Embedding(LayerContext context, Parameter table)
    : context_(context),
      first_token_(table.shard.box.offset[0]),
      table_(context.store.add(std::move(table))) {}

Embedding::Embedding(LayerContext context, Stack table, int64_t first_token)
    : context_(context), first_token_(first_token), table_(table) {}

Tensor Embedding::forward(const Tensor&, const Micro& micro, Pass pass) {
  const Tensor table = context_.store.value(table_);
  const Tensor rows(table.device(), table.dtype(), {micro.rows(), table.columns()});
  embedding(context_.stream, micro.tokens, first_token_, table, rows);
  if (pass.tape) pass.tape->frame<Saved>(this).tokens = micro.tokens;
  return context_.tensor().scatter_sum_rows(rows, "embedding");
}

Tensor Embedding::backward_input(const Tensor& dy, Tape& tape) {
  tape.frame<Saved>(this).dy = dy;
  return {};
}

void Embedding::backward_weight(Tape& tape) {
  const Saved& saved = tape.frame<Saved>(this);
  const Tensor dy =
      context_.tensor().gather_rows(saved.dy, saved.tokens.size(), "embedding gradient");
  embedding_backward(context_.stream, saved.tokens, first_token_, dy, context_.store.grad(table_));
  tape.release(this);
}

}  // namespace tessera
