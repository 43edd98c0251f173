// SPDX-License-Identifier: Apache-2.0
// The chunks of the model that this rank holds, driven by a schedule: keeps one tape per microbatch
// in flight, sums the loss, and tells the Gradients what each backward pass has added. Not
// thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "parallel/pipeline/executor.h"
#include "trainer/model/gradients.h"
#include "trainer/model/layer.h"

namespace tessera {

// A run of the model's layers. The first chunk of a model begins with the embedding, the last one
// ends with the loss head.
struct Chunk {
  std::vector<std::unique_ptr<Layer>> layers;
  bool first = false;
  bool last = false;
};

class Stage : public PipelineStage {
 public:
  Stage(LayerContext context, std::vector<Chunk> chunks, int64_t hidden_size);

  void begin_step(std::vector<Micro> micros, Gradients& gradients);
  // Forward passes that remember nothing. `progress` hears what part of them is done.
  void begin_evaluation(std::vector<Micro> micros, std::function<void(double part)> progress);
  Tensor forward(int chunk, int micro, const Tensor& x) override;
  Tensor backward_input(int chunk, int micro, const Tensor& dy) override;
  void backward_weight(int chunk, int micro) override;
  Tensor backward(int chunk, int micro, const Tensor& dy) override;
  Tensor boundary(int micro) override;  // (my rows, H)
  void gather_weights(int chunk) override;
  void release_weights(int chunk) override;
  int num_micro() const { return static_cast<int>(micros_.size()); }
  bool training() const { return gradients_ != nullptr; }
  const Micro& micro(int micro) const { return micros_.at(static_cast<size_t>(micro)); }
  // Passes of this microbatch see `other` from now on. REQUIRES that none of them has begun.
  void set_micro(int micro, Micro other) { micros_.at(static_cast<size_t>(micro)) = other; }
  bool is_last(int micro) const { return static_cast<size_t>(micro) + 1 == micros_.size(); }
  void end_step() const;  // throws Error{internal} when a tape still holds something

  // Sum of the losses of all rows since begin_step(), as ExactSum words (kernels/reduce.h): on the
  // ranks of the last stage; zero elsewhere.
  const Tensor& loss_words() const { return loss_words_; }

  // The same of the layer that adds a loss of its own (multi-token prediction, over all depths).
  const Tensor& mtp_loss_words() const;

  // Of a model that is whole on this rank, without a tape: the loss of each row (rows) f64, and
  // logits (rows, V). cache: of the tokens before these; null: there are none.
  Tensor losses(const Micro& micro);
  Tensor logits(const Micro& micro, AttentionCache* cache = nullptr);

 private:
  void begin(std::vector<Micro> micros, Gradients* gradients);
  Tape& tape(int chunk, int micro);
  Tensor through(const Chunk& chunk, Tensor x, const Micro& micro, const Pass& pass,
                 size_t num_layers);
  void weight_half(int chunk, size_t layer, int micro);

  LayerContext context_;
  std::vector<Chunk> chunks_;
  int64_t hidden_size_;
  std::vector<Micro> micros_;
  std::vector<Tape> tapes_;         // [chunk][micro]
  Gradients* gradients_ = nullptr;  // null: an evaluation
  std::function<void(double)> progress_;
  Tensor loss_words_, no_words_;
};

}  // namespace tessera
