// SPDX-License-Identifier: Apache-2.0
// Where the experts of a layer lie: place p is the (p mod per rank)-th of expert rank p / per rank.
// Pure arithmetic; no communication.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

// Items to packs of equally many items, so that the packs weigh alike: heaviest first, each to the
// lightest pack that has room, the first of equals (deepseek-ai/EPLB, balanced_packing).
struct Packing {
  std::vector<int64_t> pack;  // of each item
  std::vector<int64_t> rank;  // of each item: its place in the pack
};
// REQUIRES weights.size() to be a multiple of packs.
Packing balanced_packing(const std::vector<double>& weights, int64_t packs);

class ExpertPlacement {
 public:
  // Expert e at place e.
  ExpertPlacement(int64_t experts, int64_t ranks);
  // The placement that evens the ranks' loads; only places change, an expert has one.
  static ExpertPlacement balanced(const std::vector<double>& loads, int64_t ranks);

  int64_t experts() const { return static_cast<int64_t>(place_of_expert_.size()); }
  int64_t ranks() const { return ranks_; }
  int64_t per_rank() const { return experts() / ranks_; }
  const std::vector<int32_t>& place_of_expert() const { return place_of_expert_; }
  std::vector<int64_t> experts_of(int64_t rank) const;  // in order of their places
  // The largest load of a rank divided by the mean.
  double imbalance(const std::vector<double>& loads) const;

 private:
  std::vector<int32_t> place_of_expert_;
  int64_t ranks_;
};

}  // namespace tessera
