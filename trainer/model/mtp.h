// SPDX-License-Identifier: Apache-2.0
// Multi-token prediction (DeepSeek-V3, arXiv:2412.19437, 2.2, eq 21-25): a chain that hangs off the
// last block's output h, while h itself passes on unchanged to the final norm and head. Depth k of
// D predicts the token k places beyond the next one:
//   h_k  = Block_k(M_k [RmsNorm(Emb(token i+k)); RmsNorm(h_{k-1})]),  h_0 = h
//   loss_k = cross-entropy of Head(RmsNorm(h_k)) against the target of row i+k
//   loss = loss + weight / D * sum_k loss_k
// over the target tokens of the main loss; rows whose token i+k, or its document, has ended count
// nothing. Embedding and head are the model's, each use with a gradient of its own. Positions are
// those of row i. M_k is whole on every tensor rank. Without a tape (evaluation, generation) the
// chain does nothing.
#pragma once

#include <memory>
#include <vector>

#include "trainer/model/embedding.h"
#include "trainer/model/linear.h"
#include "trainer/model/loss_head.h"
#include "trainer/model/norm.h"
#include "trainer/model/options.h"

namespace tessera {

class MultiTokenPrediction : public Layer {
 public:
  struct Depth {
    std::unique_ptr<Embedding> embedding;
    std::unique_ptr<RmsNorm> embedding_norm;  // enorm
    std::unique_ptr<RmsNorm> hidden_norm;     // hnorm
    std::unique_ptr<Linear> projection;       // eh_proj (H, 2H), the embedding's half first
    std::vector<std::unique_ptr<Layer>> block;
    std::unique_ptr<RmsNorm> norm;  // shared_head.norm
    std::unique_ptr<LossHead> head;
  };
  MultiTokenPrediction(LayerContext context, std::vector<Depth> depths);

  Tensor forward(const Tensor& h, const Micro& micro, Pass pass) override;  // (t, H) -> h
  Tensor backward_input(const Tensor& dy, Tape& tape) override;
  void backward_weight(Tape& tape) override;
  // Of all but the heads, whose gradients are made in forward() (loss_head.h).
  std::vector<Stack> weights() const override;
  std::vector<Stack> forward_weights() const override;

  void begin_step() override;
  // Sum of loss_k over all rows and depths since begin_step(), as ExactSum words. Divided by D and
  // the step's target tokens: the step's mtp_loss.
  const Tensor* extra_loss_words() const override { return &loss_words_; }

 private:
  Tensor concatenate(const Tensor& embedding, const Tensor& hidden) const;

  LayerContext context_;
  std::vector<Depth> depths_;
  Tensor loss_words_;
};

// MtpOptions' weight of a step that begins here.
double mtp_loss_weight(const MtpOptions& options, const Reached& now);

}  // namespace tessera
