// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/stage.h"

#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/reduce.h"

namespace tessera {

Stage::Stage(LayerContext context, std::vector<Chunk> chunks, int64_t hidden_size)
    : context_(context), chunks_(std::move(chunks)), hidden_size_(hidden_size) {
  no_words_ = Tensor(context.stream.device(), DType::i64, {ExactSum::kWords});
  fill(context.stream, 0, no_words_);
  loss_words_ = Tensor(context.stream.device(), DType::i64, {ExactSum::kWords});
}

void Stage::begin_step(std::vector<Micro> micros, Gradients& gradients) {
  begin(std::move(micros), &gradients);
}

void Stage::begin_evaluation(std::vector<Micro> micros, std::function<void(double part)> progress) {
  begin(std::move(micros), nullptr);
  progress_ = std::move(progress);
}

void Stage::begin(std::vector<Micro> micros, Gradients* gradients) {
  micros_ = std::move(micros);
  tapes_.clear();
  tapes_.resize(chunks_.size() * micros_.size());
  gradients_ = gradients;
  fill(context_.stream, 0, loss_words_);
  for (const Chunk& chunk : chunks_)
    for (const auto& layer : chunk.layers) layer->begin_step();
}

Tape& Stage::tape(int chunk, int micro) {
  return tapes_[static_cast<size_t>(chunk) * micros_.size() + static_cast<size_t>(micro)];
}

Tensor Stage::through(const Chunk& chunk, Tensor x, const Micro& micro, const Pass& pass,
                      size_t num_layers) {
  for (size_t layer = 0; layer < num_layers; ++layer)
    x = chunk.layers[layer]->forward(x, micro, pass);
  return x;
}

Tensor Stage::forward(int chunk, int micro, const Tensor& x) {
  const Chunk& mine = chunks_[static_cast<size_t>(chunk)];
  Tape* remember = gradients_ != nullptr ? &tape(chunk, micro) : nullptr;
  const Tensor y =
      through(mine, x, micros_[static_cast<size_t>(micro)], remember, mine.layers.size());
  if (!remember && chunk + 1 == static_cast<int>(chunks_.size()))
    progress_(static_cast<double>(micro + 1) / static_cast<double>(micros_.size()));
  if (!mine.last) return y;
  // Heads have made their weights' gradients already (loss_head.h). The last layer's go first:
  // their reductions start in this order.
  if (remember)
    for (size_t layer = mine.layers.size(); layer-- > 0;)
      gradients_->added(mine.layers[layer]->forward_weights(), is_last(micro));
  exact_sum(context_.stream, y, loss_words_);
  return {};
}

Tensor Stage::backward_input(int chunk, int micro, const Tensor& dy) {
  const Chunk& mine = chunks_[static_cast<size_t>(chunk)];
  Tensor dx = dy;
  for (size_t layer = mine.layers.size(); layer-- > 0;)
    dx = mine.layers[layer]->backward_input(dx, tape(chunk, micro));
  return dx;
}

void Stage::backward_weight(int chunk, int micro) {
  const size_t num_layers = chunks_[static_cast<size_t>(chunk)].layers.size();
  for (size_t layer = num_layers; layer-- > 0;) weight_half(chunk, layer, micro);
}

Tensor Stage::backward(int chunk, int micro, const Tensor& dy) {
  const Chunk& mine = chunks_[static_cast<size_t>(chunk)];
  Tensor dx = dy;
  for (size_t layer = mine.layers.size(); layer-- > 0;) {
    dx = mine.layers[layer]->backward_input(dx, tape(chunk, micro));
    weight_half(chunk, layer, micro);
  }
  return dx;
}

// Forward passes and weight halves come in increasing microbatch order (check_plan), so after the
// last microbatch's a gradient is final.
void Stage::weight_half(int chunk, size_t layer, int micro) {
  Layer& mine = *chunks_[static_cast<size_t>(chunk)].layers[layer];
  mine.backward_weight(tape(chunk, micro));
  gradients_->added(mine.weights(), is_last(micro));
}

Tensor Stage::boundary(int micro) {
  const TensorParallel tensor = context_.tensor();
  const int64_t rows =
      even_part(micros_[static_cast<size_t>(micro)].rows(), tensor.rank(), tensor.size()).extent;
  return Tensor(context_.stream.device(), context_.dtype, {rows, hidden_size_});
}

void Stage::gather_weights(int chunk) {
  context_.store.gather_weights(context_.stream, context_.comms, chunk);
}

void Stage::release_weights(int chunk) {
  context_.store.release_weights(chunk);
}

void Stage::end_step() const {
  for (size_t i = 0; i < tapes_.size(); ++i)
    check(tapes_[i].empty(), "Stage: the tape of chunk", i / micros_.size(), "microbatch",
          i % micros_.size(), "still holds", tapes_[i].size(), "frames at the end of the step");
}

Tensor Stage::losses(const Micro& micro) {
  return through(chunks_.front(), {}, micro, nullptr, chunks_.front().layers.size());
}

Tensor Stage::logits(const Micro& micro, AttentionCache* cache) {
  const Chunk& whole = chunks_.front();
  Pass pass = nullptr;
  pass.cache = cache;
  return whole.layers.back()->logits(through(whole, {}, micro, pass, whole.layers.size() - 1));
}

const Tensor& Stage::mtp_loss_words() const {
  for (const Chunk& chunk : chunks_)
    for (const auto& layer : chunk.layers)
      if (const Tensor* words = layer->extra_loss_words()) return *words;
  return no_words_;
}

}  // namespace tessera
