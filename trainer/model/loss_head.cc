// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/loss_head.h"

#include <algorithm>

#include "kernels/cross_entropy.h"
#include "kernels/gemm.h"
#include "trainer/model/linear.h"

namespace tessera {
namespace {

struct Saved {
  Tensor dx;  // (t, H)
};

// Rows of logits that exist at a time. Fixed, because the weight gradient is summed chunk by chunk
// and must not depend on memory or threads; 1,024 rows keep the extra traffic of dW under 10 %.
constexpr int64_t kChunkRows = 1024;

}  // namespace

LossHead::LossHead(LayerContext context, Stack weight, int64_t first_class)
    : context_(context), weight_(weight), first_class_(first_class) {}

Tensor LossHead::logits(const Tensor& x) const {
  const Tensor weight = context_.store.value(weight_);
  const Tensor out(x.device(), accumulation_type(x.dtype()), {x.rows(), weight.rows()});
  gemm(context_.stream, {.a = x, .b = weight, .c = out, .transpose_b = true});
  return out;
}

Tensor LossHead::forward(const Tensor& mine, const Micro& micro, Pass pass) {
  Stream& stream = context_.stream;
  const Tensor x = context_.tensor().gather_rows(mine, micro.rows(), "head input");
  Communicator& slices = context_.comms.along(Axis::tensor);
  const Tensor weight = context_.store.value(weight_);
  const DType wide = accumulation_type(x.dtype());
  const Tensor loss(x.device(), DType::f64, {x.rows()});
  const Tensor dx = pass.tape ? Tensor(x.device(), x.dtype(), {x.rows(), x.columns()}) : Tensor();
  for (int64_t first = 0; first < x.rows(); first += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, x.rows() - first);
    const Tensor xs = x.row_slice(first, rows);
    const Tensor targets = micro.targets.column_slice(first, rows);
    const Tensor scores = logits(xs);                 // (rows, V)
    const Tensor stats(x.device(), wide, {rows, 3});  // of my slice of the vocabulary
    const Tensor all(x.device(), wide, {slices.size() * rows, 3});
    const Tensor log_sum_exp(x.device(), wide, {rows});
    softmax_stats(stream, scores, targets, first_class_, stats);
    slices.all_gather(stream, stats, Cut::even(all.rows(), slices.size()), all, "softmax");
    cross_entropy(stream, all, targets, log_sum_exp, loss.column_slice(first, rows));
    if (!pass.tape) continue;
    const Tensor dscores =
        x.dtype() == wide ? scores : Tensor(x.device(), x.dtype(), {rows, weight.rows()});
    cross_entropy_backward(stream, scores, targets, first_class_, log_sum_exp, micro.dloss,
                           micro.loss_scale, dscores);
    gemm(stream, {.a = dscores, .b = weight, .c = dx.row_slice(first, rows)});
    add_weight_gradient(context_, weight_, dscores, xs);
  }
  if (pass.tape)
    pass.tape->frame<Saved>(this).dx =
        context_.tensor().scatter_sum_rows(dx, "head input gradient");
  return loss;
}

Tensor LossHead::backward_input(const Tensor&, Tape& tape) {
  Tensor dx = tape.frame<Saved>(this).dx;
  tape.release(this);
  return dx;
}

void LossHead::backward_weight(Tape&) {}

}  // namespace tessera
