// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/routing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/exact_sum.h"
#include "kernels/copy.h"
#include "kernels/router.h"
#include "kernels/transfer.h"

namespace tessera {
namespace {

// Of one row: how far the best expert that is not in `given` stands above the worst one that is,
// relative to the former; 0: nothing does.
double margin_of(const Tensor& scores, int64_t row, const int32_t* given, int64_t k) {
  double worst = 0, best = 0;
  bool any = false;
  for (int64_t e = 0; e < scores.columns(); ++e) {
    const bool in = std::find(given, given + k, static_cast<int32_t>(e)) != given + k;
    const double score = scores.dtype() == DType::f64
                             ? scores.row<double>(row)[e]
                             : static_cast<double>(scores.row<float>(row)[e]);
    if (in && (!any || score < worst)) worst = score, any = true;
    if (!in) best = std::max(best, score);
  }
  return best > worst && best > 0 ? (best - worst) / best : 0;
}

}  // namespace

Routing::Routing(Stream& stream, const ModelOptions& model, int64_t rows)
    : stream_(stream),
      first_layer_(model.first_k_dense_replace),
      num_layers_(model.num_hidden_layers + model.num_nextn_predict_layers - first_layer_),
      num_experts_(model.n_routed_experts),
      per_token_(model.num_experts_per_tok),
      rows_(rows),
      biases_(stream.device(), DType::f32, {num_layers_, num_experts_}, MemoryClass::other),
      counts_(stream.device(), DType::i64, {num_layers_, num_experts_}, MemoryClass::other),
      loss_words_(stream.device(), DType::i64, {ExactSum::kWords}, MemoryClass::other) {
  fill(stream, 0, biases_);
  begin_step(0);
}

int64_t Routing::row_of(int64_t layer) const {
  check(layer >= first_layer_ && layer < first_layer_ + num_layers_, "Routing: layer", layer,
        "has no routed experts");
  return layer - first_layer_;
}

Tensor Routing::bias(int64_t layer) const {
  return biases_.row_slice(row_of(layer), 1);
}

Tensor Routing::counts(int64_t layer) const {
  return counts_.row_slice(row_of(layer), 1);
}

void Routing::after_update(const Tensor& loads, double speed, const Tensor& apply) {
  update_router_bias(stream_, loads, speed, apply, biases_);
}

void Routing::begin_step(int64_t step) {
  step_ = step;
  seen_.clear();
  extra_rounds_ = 0;
  fill(stream_, 0, counts_);
  fill(stream_, 0, loss_words_);
}

std::vector<ExpertLoad> Routing::loads(const Tensor& counts) const {
  std::vector<ExpertLoad> all;
  for (int64_t row = 0; row < num_layers_; ++row) {
    const auto* count = counts.row<int64_t>(row);
    std::vector<int64_t> sorted(count, count + num_experts_);
    std::sort(sorted.begin(), sorted.end());
    const double mean = static_cast<double>(std::max<int64_t>(
                            1, std::accumulate(sorted.begin(), sorted.end(), int64_t{0}))) /
                        static_cast<double>(num_experts_);
    const auto quantile = [&](double part) {  // the nearest rank
      const auto at = static_cast<size_t>(std::ceil(part * static_cast<double>(sorted.size())));
      return static_cast<double>(sorted[std::max<size_t>(1, at) - 1]) / mean;
    };
    all.push_back({.layer = first_layer_ + row,
                   .p50 = quantile(0.5),
                   .p95 = quantile(0.95),
                   .max = quantile(1),
                   .dead = std::count(sorted.begin(), sorted.end(), int64_t{0})});
  }
  return all;
}

void Routing::observe(const Tensor& loads) {
  observed_.resize(static_cast<size_t>(loads.size()), 0.0);
  for (size_t i = 0; i < observed_.size(); ++i)
    observed_[i] += static_cast<double>(loads.as<int64_t>()[i]);
}

int64_t Routing::rebalance() {
  int64_t changed = 0;
  for (const auto& [row, experts] : movable_) {
    if (observed_.empty()) break;
    const auto first = observed_.begin() + row * num_experts_;
    const std::vector<double> loads(first, first + num_experts_);
    const ExpertPlacement& now = experts->placement();
    const ExpertPlacement even = ExpertPlacement::balanced(loads, now.ranks());
    if (even.imbalance(loads) >= now.imbalance(loads)) continue;
    experts->place(even);
    ++changed;
  }
  observed_.clear();
  return changed;
}

bool Routing::first_visit(int64_t layer, const Micro& micro) {
  return micro.first_row >= 0 && seen_.emplace(layer, micro.first_row).second;
}

void Routing::meet(int64_t layer, int64_t row, const Tensor& choice_scores,
                   const Tensor& choice_index) {
  const std::pair<int64_t, int64_t> key{step_, layer};
  const Tensor index = on_host(stream_, choice_index);
  const int64_t k = index.columns();
  if (replay_ != nullptr) {
    const auto found = replay_->chosen.find(key);
    check(found != replay_->chosen.end(), "Routing: nothing to replay of step", step_, "layer",
          layer);
    const Tensor scores = on_host(stream_, choice_scores);
    for (int64_t r = 0; r < index.rows(); ++r) {
      const int32_t* given = found->second.data() + (row + r) * k;
      int32_t* mine = index.row<int32_t>(r);
      check(given[0] >= 0, "Routing: nobody recorded row", row + r, "of step", step_);
      ++flips_.rows;
      if (!std::is_permutation(mine, mine + k, given)) {
        ++flips_.flipped;
        flips_.margin = std::max(flips_.margin, margin_of(scores, r, given, k));
      }
      std::copy(given, given + k, mine);
    }
    upload(stream_, index, choice_index);
  }
  if (record_ == nullptr) return;
  std::vector<int32_t>& all = record_->chosen[key];
  if (all.empty()) all.assign(static_cast<size_t>(rows_ * per_token_), -1);
  for (int64_t r = 0; r < index.rows(); ++r)
    std::copy_n(index.row<int32_t>(r), k, all.begin() + (row + r) * k);
}

}  // namespace tessera
