// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/stage.h"

#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/reduce.h"

namespace tessera {

Stage::Stage(LayerContext context, std::vector<std::unique_ptr<Layer>> layers, LossHead* head)
    : context_(context), layers_(std::move(layers)), head_(head) {
  loss_words_ = Tensor(context.stream.device(), DType::i64, {ExactSum::kWords});
}

void Stage::begin_step(std::vector<Micro> micros, GradBuckets& buckets, bool watch_overflow) {
  micros_ = std::move(micros);
  tapes_.clear();
  tapes_.resize(micros_.size());
  buckets_ = &buckets;
  watch_overflow_ = watch_overflow;
  first_overflow_ = -1;
  fill(context_.stream, 0, loss_words_);
}

Tensor Stage::through(const Micro& micro, Tape* tape, size_t num_layers) {
  Tensor x;
  for (size_t layer = 0; layer < num_layers; ++layer) x = layers_[layer]->forward(x, micro, tape);
  return x;
}

Tensor Stage::forward(int, int micro, const Tensor&) {
  const auto m = static_cast<size_t>(micro);
  exact_sum(context_.stream, through(micros_[m], &tapes_[m], layers_.size()), loss_words_);
  return {};
}

Tensor Stage::backward_input(int, int micro, const Tensor& gradient) {
  Tensor dy = gradient;
  for (size_t layer = layers_.size(); layer-- > 0;)
    dy = layers_[layer]->backward_input(dy, tapes_[static_cast<size_t>(micro)]);
  return {};
}

void Stage::backward_weight(int, int micro) {
  for (size_t layer = layers_.size(); layer-- > 0;) weight_half(layer, micro);
}

Tensor Stage::backward(int, int micro, const Tensor& gradient) {
  Tensor dy = gradient;
  for (size_t layer = layers_.size(); layer-- > 0;) {
    dy = layers_[layer]->backward_input(dy, tapes_[static_cast<size_t>(micro)]);
    weight_half(layer, micro);
  }
  return {};
}

// Weight halves come in increasing microbatch order (check_plan), so after the last microbatch's a
// gradient is final.
void Stage::weight_half(size_t layer, int micro) {
  layers_[layer]->backward_weight(tapes_[static_cast<size_t>(micro)]);
  if (static_cast<size_t>(micro) + 1 < micros_.size()) return;
  for (const int parameter : layers_[layer]->parameters()) {
    context_.store.fold_uses(context_.stream, parameter);
    if (watch_overflow_ && first_overflow_ < 0 && !finite(parameter)) first_overflow_ = parameter;
    buckets_->mark_ready(parameter);
  }
}

bool Stage::finite(int parameter) const {
  const Tensor count(context_.stream.device(), DType::i64, {1});
  fill(context_.stream, 0, count);
  const ParameterStore& store = context_.store;
  count_non_finite(context_.stream, store.view(store.grads(), parameter), count);
  return *count.as<int64_t>() == 0;
}

void Stage::end_step() const {
  for (size_t micro = 0; micro < tapes_.size(); ++micro)
    check(tapes_[micro].empty(), "Stage: the tape of microbatch", micro, "still holds",
          tapes_[micro].size(), "frames at the end of the step");
}

Tensor Stage::losses(const Micro& micro) {
  return through(micro, nullptr, layers_.size());
}

Tensor Stage::logits(const Micro& micro) {
  return head_->logits(through(micro, nullptr, layers_.size() - 1));
}

}  // namespace tessera
