// SPDX-License-Identifier: Apache-2.0
// What all routers of the model share and what outlives a microbatch: the biases that balance the
// load of experts without a loss (Wang et al., arXiv:2408.15664; DeepSeek-V3, arXiv:2412.19437,
// 2.1.2), this step's choices per expert, the auxiliary losses, and a record of who chose what, so
// that two layouts can be compared along one routing (docs/numerics.md). Layers are numbered as in
// the whole model, blocks of multi-token prediction after the others; every rank has a row for
// each, its own pipeline stage's are filled. Not thread-safe.
//
// A microbatch is told by Micro::first_row, its place in the step's global batch. What is counted
// is counted once for each of them, however often a layer's forward pass is made again; nothing is
// counted for a microbatch outside the step (an evaluation).
#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "parallel/strategy/expert_placement.h"
#include "trainer/model/micro.h"
#include "trainer/model/options.h"

namespace tessera {

// The experts that the tokens of some steps chose, by (step, layer): num_experts_per_tok numbers a
// row of the global batch, -1 where this rank did not see the row. The maximum over ranks is the
// whole.
struct RoutingRecord {
  std::map<std::pair<int64_t, int64_t>, std::vector<int32_t>> chosen;
};

// What a replay found: rows whose own choice would have been another one. margin: by how much the
// best score not replayed beats the worst one replayed, relative to the former.
struct RoutingFlips {
  int64_t rows = 0;     // looked at
  int64_t flipped = 0;  // of them
  double margin = 0;    // the largest
};

// Experts of one layer, which may be dealt to the expert ranks anew.
class MovableExperts {
 public:
  virtual ~MovableExperts() = default;
  virtual const ExpertPlacement& placement() const = 0;
  // Moves weights and optimizer state; collective, between steps. The store's values are stale
  // until it publishes them.
  virtual void place(const ExpertPlacement& placement) = 0;
};

// How evenly the tokens of a step went to the experts of one layer; all but `dead` over the mean.
struct ExpertLoad {
  int64_t layer = 0;
  double p50 = 0;
  double p95 = 0;
  double max = 0;
  int64_t dead = 0;  // experts that nobody chose
};

class Routing {
 public:
  // rows: of the largest global batch, over all ranks (for the record).
  Routing(Stream& stream, const ModelOptions& model, int64_t rows);

  int64_t first_layer() const { return first_layer_; }  // with routed experts
  int64_t num_layers() const { return num_layers_; }    // with routed experts
  int64_t num_experts() const { return num_experts_; }

  // --- The bias of each expert, added to its score for the choice alone; zero at first.
  const Tensor& biases() const { return biases_; }  // (layers, E) f32
  Tensor bias(int64_t layer) const;                 // (1, E), a view
  // After an update: b += speed * sign(mean load - load), per layer, unless apply, (1) f64 on the
  // device, is 0. loads: counts() summed over all ranks.
  void after_update(const Tensor& loads, double speed, const Tensor& apply);

  // --- Of this step, on this rank: each token is counted by one rank.
  void begin_step(int64_t step);
  const Tensor& counts() const { return counts_; }  // (layers, E) i64
  // Sum over sequences and layers of the auxiliary losses, already times their factors: ExactSum
  // words (kernels/reduce.h). Divided by the sequences of the global batch: the step's aux_loss.
  const Tensor& loss_words() const { return loss_words_; }
  // Of each layer, from a step's counts() summed over all ranks, in the host's memory.
  std::vector<ExpertLoad> loads(const Tensor& counts) const;
  int64_t extra_rounds() const { return extra_rounds_; }  // of expert buffers: RouterOptions

  // --- Where experts lie (RouterOptions::rebalance_every). loads: a step's counts() summed over
  // all ranks, in the host's memory.
  void hold(int64_t layer, MovableExperts* experts) { movable_[row_of(layer)] = experts; }
  void observe(const Tensor& loads);
  // Deals the experts of each layer of this stage so that the loads observed since the last call
  // are even over the expert ranks, where that is better than it is; returns how many layers
  // changed. The caller publishes the store afterwards. Collective.
  int64_t rebalance();

  // --- For the layers.
  // Whether `layer` sees this microbatch for the first time in this step.
  bool first_visit(int64_t layer, const Micro& micro);
  Tensor counts(int64_t layer) const;  // (1, E), a view
  void add_rounds(int64_t extra) { extra_rounds_ += extra; }
  // Replaces choice_index (rows, k) i32, the layer's own choice from `scores` (rows, E), bias
  // included, by the recorded one when there is a replay; notes it when there is a record. row: of
  // the global batch, of the first of them.
  void meet(int64_t layer, int64_t row, const Tensor& choice_scores, const Tensor& choice_index);

  // --- Record and replay; null: neither. The record outlives the Routing.
  void record(RoutingRecord* to) { record_ = to; }
  void replay(const RoutingRecord* from) { replay_ = from; }
  const RoutingFlips& flips() const { return flips_; }  // since the start
  bool watches() const { return record_ != nullptr || replay_ != nullptr; }

 private:
  int64_t row_of(int64_t layer) const;

  Stream& stream_;
  int64_t first_layer_, num_layers_, num_experts_, per_token_, rows_;
  Tensor biases_, counts_, loss_words_;
  int64_t extra_rounds_ = 0;
  int64_t step_ = 0;
  std::set<std::pair<int64_t, int64_t>> seen_;  // (layer, first row) of this step
  RoutingRecord* record_ = nullptr;
  const RoutingRecord* replay_ = nullptr;
  RoutingFlips flips_;
  std::map<int64_t, MovableExperts*> movable_;  // by row of the layer
  std::vector<double> observed_;                // (layers, E)
};

}  // namespace tessera
