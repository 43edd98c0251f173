// SPDX-License-Identifier: Apache-2.0
// The router of a mixture of experts: logits = x W^T in f32 whatever the model computes in, scores,
// choice, weights (DeepSeek-V3, arXiv:2412.19437, eq 13-16, kernels/router.h), and the gradient
// through the weights and through the balance losses. W: "gate.weight", (E, H), the same on every
// tensor rank; each of them sees its rows.
#pragma once

#include <string>

#include "kernels/router.h"
#include "trainer/model/layer.h"
#include "trainer/model/options.h"

namespace tessera {

// topk_method noaux_tc scores a group of experts by the sum of this many of its best scores, in
// DeepSeek's code and in transformers alike, so a group has at least as many experts.
inline constexpr int64_t kBestOfGroup = 2;

// These rules say how scores are made and chosen from.
struct RouterRules {
  Scoring scoring = Scoring::softmax;
  ExpertGroups groups;
  RouterWeights weights;
};
RouterRules router_rules(const ModelOptions& model);

// What a router decided for some rows, and what its backward pass needs.
struct RouterChoice {
  Tensor scores;   // (t, E)
  Tensor index;    // (t, k) i32
  Tensor weights;  // (t, k)
  Tensor dshares;  // (sequences, E): of the balance losses
  SequenceRows of;
};

class Router {
 public:
  Router(LayerContext context, const std::string& prefix, const ModelOptions& model,
         const RouterOptions& options, int64_t layer);
  // learns: a backward pass may follow. counted: whether this step saw the microbatch here for the
  // first time.
  RouterChoice choose(const Tensor& x, const Micro& micro, bool learns, bool& counted) const;
  // -> (t, E), the type of sums
  Tensor dlogits(const RouterChoice& choice, const Tensor& dweights) const;
  // dx += dlogits W
  void backward_input(const Tensor& dlogits, const Tensor& dx) const;
  void backward_weight(const Tensor& dlogits, const Tensor& x) const;
  Stack weight() const { return weight_; }

 private:
  bool has_losses() const;
  void balance(RouterChoice& choice, const Micro& micro, bool count) const;
  Tensor counts_of(const Tensor& index, int64_t width, const SequenceRows& of,
                   int64_t sequences) const;

  LayerContext context_;
  ModelOptions model_;
  RouterOptions options_;
  RouterRules rules_;
  int64_t layer_;
  Stack weight_;
};

}  // namespace tessera
