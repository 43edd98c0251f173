// SPDX-License-Identifier: Apache-2.0
#include "parallel/strategy/expert_placement.h"

#include <algorithm>
#include <numeric>

#include "kernels/base/check.h"

namespace tessera {

Packing balanced_packing(const std::vector<double>& weights, int64_t packs) {
  const auto items = static_cast<int64_t>(weights.size());
  check(packs > 0 && items % packs == 0, "balanced_packing: cannot pack", items, "items into",
        packs);
  std::vector<size_t> order(weights.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return weights[a] > weights[b]; });
  Packing packing{std::vector<int64_t>(weights.size()), std::vector<int64_t>(weights.size())};
  std::vector<double> load(static_cast<size_t>(packs), 0.0);
  std::vector<int64_t> count(static_cast<size_t>(packs), 0);
  for (const size_t item : order) {
    size_t lightest = load.size();
    for (size_t pack = 0; pack < load.size(); ++pack)
      if (count[pack] < items / packs && (lightest == load.size() || load[pack] < load[lightest]))
        lightest = pack;
    packing.pack[item] = static_cast<int64_t>(lightest);
    packing.rank[item] = count[lightest]++;
    load[lightest] += weights[item];
  }
  return packing;
}

ExpertPlacement::ExpertPlacement(int64_t experts, int64_t ranks)
    : place_of_expert_(static_cast<size_t>(experts)), ranks_(ranks) {
  check(ranks > 0 && experts % ranks == 0, "ExpertPlacement: cannot deal", experts, "experts to",
        ranks, "ranks");
  std::iota(place_of_expert_.begin(), place_of_expert_.end(), 0);
}

ExpertPlacement ExpertPlacement::balanced(const std::vector<double>& loads, int64_t ranks) {
  ExpertPlacement placement(static_cast<int64_t>(loads.size()), ranks);
  const Packing packing = balanced_packing(loads, ranks);
  for (size_t expert = 0; expert < loads.size(); ++expert)
    placement.place_of_expert_[expert] =
        static_cast<int32_t>(packing.pack[expert] * placement.per_rank() + packing.rank[expert]);
  return placement;
}

std::vector<int64_t> ExpertPlacement::experts_of(int64_t rank) const {
  std::vector<int64_t> mine(static_cast<size_t>(per_rank()));
  for (int64_t expert = 0; expert < experts(); ++expert) {
    const int64_t place = place_of_expert_[static_cast<size_t>(expert)];
    if (place / per_rank() == rank) mine[static_cast<size_t>(place % per_rank())] = expert;
  }
  return mine;
}

double ExpertPlacement::imbalance(const std::vector<double>& loads) const {
  std::vector<double> of_rank(static_cast<size_t>(ranks_), 0.0);
  for (size_t expert = 0; expert < loads.size(); ++expert)
    of_rank[static_cast<size_t>(place_of_expert_[expert] / per_rank())] += loads[expert];
  const double total = std::accumulate(of_rank.begin(), of_rank.end(), 0.0);
  if (total == 0) return 1;
  return *std::max_element(of_rank.begin(), of_rank.end()) * static_cast<double>(ranks_) / total;
}

}  // namespace tessera
