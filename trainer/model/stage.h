// SPDX-License-Identifier: Apache-2.0
// The layers of one pipeline chunk, driven by a schedule: keeps one tape per microbatch in flight,
// sums the loss, and marks gradients ready as the last microbatch's backward passes them.
#pragma once

#include <memory>
#include <vector>

#include "parallel/grad_buckets.h"
#include "parallel/pipeline/executor.h"
#include "trainer/model/layer.h"
#include "trainer/model/loss_head.h"

namespace tessera {

class Stage : public PipelineStage {
 public:
  // layers: the embedding first, `head` (owned by layers) last.
  Stage(LayerContext context, std::vector<std::unique_ptr<Layer>> layers, LossHead* head);

  // A step. `buckets` is told of each gradient that is final; watch_overflow: look at it first.
  void begin_step(std::vector<Micro> micros, GradBuckets& buckets, bool watch_overflow);
  Tensor forward(int chunk, int micro, const Tensor& x) override;
  Tensor backward_input(int chunk, int micro, const Tensor& dy) override;
  void backward_weight(int chunk, int micro) override;
  Tensor backward(int chunk, int micro, const Tensor& dy) override;
  Tensor boundary(int) override { return {}; }  // the whole model is one chunk:
  void gather_weights(int) override {}          // nothing crosses a boundary,
  void release_weights(int) override {}         // and all weights are always whole
  void end_step() const;  // throws Error{internal} when a tape still holds something

  // Sum of the losses of all rows since begin_step(), as ExactSum words (kernels/reduce.h).
  const Tensor& loss_words() const { return loss_words_; }

  // The first parameter of this step, in the order of the backward pass, whose gradient on this
  // rank was not finite; -1: none, or not watched.
  int first_overflow() const { return first_overflow_; }

  // Without a tape: the loss of each row (rows) f64, and logits (rows, V).
  Tensor losses(const Micro& micro);
  Tensor logits(const Micro& micro);

 private:
  Tensor through(const Micro& micro, Tape* tape, size_t num_layers);
  void weight_half(size_t layer, int micro);
  bool finite(int parameter) const;

  LayerContext context_;
  std::vector<std::unique_ptr<Layer>> layers_;
  LossHead* head_;
  std::vector<Micro> micros_;
  std::vector<Tape> tapes_;  // by microbatch
  GradBuckets* buckets_ = nullptr;
  Tensor loss_words_;
  bool watch_overflow_ = false;
  int first_overflow_ = -1;
};

}  // namespace tessera
