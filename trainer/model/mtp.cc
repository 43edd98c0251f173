// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/mtp.h"

#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"
#include "kernels/shift.h"

namespace tessera {
namespace {

struct Saved {
  // What each depth sees; layers inside point to them.
  std::vector<std::unique_ptr<Micro>> micros;
};

// The microbatch with tokens and targets from k places further on.
Micro seen_from(Stream& stream, const Micro& micro, int64_t k) {
  const auto moved = [&](const Tensor& in, const Tensor& document_starts, int32_t beyond) {
    const Tensor out(in.device(), DType::i32, {in.size()});
    shift(stream, in, document_starts, micro.sequence_length, k, beyond, out);
    return out;
  };
  Micro seen = micro;
  seen.tokens = moved(micro.tokens, {}, 0);
  seen.targets = moved(micro.targets, micro.document_starts, -1);
  return seen;
}

}  // namespace

double mtp_loss_weight(const MtpOptions& options, const Reached& now) {
  return options.second_phase.over(now) ? options.second_loss_weight : options.loss_weight;
}

MultiTokenPrediction::MultiTokenPrediction(LayerContext context, std::vector<Depth> depths)
    : context_(context),
      depths_(std::move(depths)),
      loss_words_(context.stream.device(), DType::i64, {ExactSum::kWords}) {
  begin_step();
}

void MultiTokenPrediction::begin_step() {
  fill(context_.stream, 0, loss_words_);
}

Tensor MultiTokenPrediction::concatenate(const Tensor& embedding, const Tensor& hidden) const {
  const int64_t width = hidden.columns();
  const Tensor both(hidden.device(), hidden.dtype(), {hidden.rows(), 2 * width});
  copy(context_.stream, embedding, both.column_slice(0, width));
  copy(context_.stream, hidden, both.column_slice(width, width));
  return both;
}

Tensor MultiTokenPrediction::forward(const Tensor& h, const Micro& micro, Pass pass) {
  if (!pass.tape) return h;
  std::vector<std::unique_ptr<Micro>>& micros = pass.tape->frame<Saved>(this).micros;
  Tensor x = h;
  for (size_t i = 0; i < depths_.size(); ++i) {
    Depth& depth = depths_[i];
    micros.push_back(
        std::make_unique<Micro>(seen_from(context_.stream, micro, static_cast<int64_t>(i) + 1)));
    Micro& seen = *micros.back();
    seen.dloss = micro.dloss * micro.mtp_loss_weight / static_cast<double>(depths_.size());
    const Tensor embedded = depth.embedding->forward({}, seen, pass);
    x = concatenate(depth.embedding_norm->forward(embedded, seen, pass),
                    depth.hidden_norm->forward(x, seen, pass));
    x = depth.projection->forward(x, seen, pass);
    for (const auto& layer : depth.block) x = layer->forward(x, seen, pass);
    exact_sum(context_.stream, depth.head->forward(depth.norm->forward(x, seen, pass), seen, pass),
              loss_words_);
  }
  return h;
}

Tensor MultiTokenPrediction::backward_input(const Tensor& dy, Tape& tape) {
  Tensor from_next;  // the gradient of a depth's output that the depth after it has
  for (size_t i = depths_.size(); i-- > 0;) {
    Depth& depth = depths_[i];
    Tensor dx = depth.norm->backward_input(depth.head->backward_input({}, tape), tape);
    if (!from_next.empty()) add(context_.stream, dx, from_next, dx);
    for (size_t layer = depth.block.size(); layer-- > 0;)
      dx = depth.block[layer]->backward_input(dx, tape);
    const Tensor dboth = depth.projection->backward_input(dx, tape);
    const int64_t width = dboth.columns() / 2;
    depth.embedding->backward_input(
        depth.embedding_norm->backward_input(dboth.column_slice(0, width), tape), tape);
    from_next = depth.hidden_norm->backward_input(dboth.column_slice(width, width), tape);
  }
  add(context_.stream, dy, from_next, from_next);
  return from_next;
}

void MultiTokenPrediction::backward_weight(Tape& tape) {
  for (size_t i = depths_.size(); i-- > 0;) {
    Depth& depth = depths_[i];
    depth.norm->backward_weight(tape);
    for (size_t layer = depth.block.size(); layer-- > 0;) depth.block[layer]->backward_weight(tape);
    depth.projection->backward_weight(tape);
    depth.hidden_norm->backward_weight(tape);
    depth.embedding_norm->backward_weight(tape);
    depth.embedding->backward_weight(tape);
  }
  tape.release(this);
}

std::vector<Stack> MultiTokenPrediction::weights() const {
  std::vector<Stack> all;
  const auto append = [&](const Layer& layer) {
    for (const Stack& weight : layer.weights()) all.push_back(weight);
  };
  for (size_t i = depths_.size(); i-- > 0;) {
    const Depth& depth = depths_[i];
    append(*depth.norm);
    for (size_t layer = depth.block.size(); layer-- > 0;) append(*depth.block[layer]);
    append(*depth.projection);
    append(*depth.hidden_norm);
    append(*depth.embedding_norm);
    append(*depth.embedding);
  }
  return all;
}

std::vector<Stack> MultiTokenPrediction::forward_weights() const {
  std::vector<Stack> all;
  for (const Depth& depth : depths_) all.push_back(depth.head->forward_weights().front());
  return all;
}

}  // namespace tessera
