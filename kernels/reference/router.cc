// SPDX-License-Identifier: Apache-2.0
#include "kernels/router.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "kernels/arguments.h"

namespace tessera::reference {
namespace {

constexpr double kLowest = -std::numeric_limits<double>::infinity();

// The `count` places of the largest values; of equals the lower place first.
std::vector<int64_t> best(const std::vector<double>& values, int64_t count) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
  });
  order.resize(static_cast<size_t>(count));
  return order;
}

double sum_of_row(const double* row, int64_t count) {
  return std::accumulate(row, row + count, 0.0);
}

}  // namespace

void router_scores(Stream&, Scoring scoring, const Tensor& logits, const Tensor& scores) {
  const int64_t experts = logits.columns();
  for (int64_t r = 0; r < logits.rows(); ++r) {
    const double *z = logits.row<double>(r), largest = *std::max_element(z, z + experts);
    double* s = scores.row<double>(r);
    for (int64_t e = 0; e < experts; ++e)
      s[e] = scoring == Scoring::softmax ? std::exp(z[e] - largest) : 1 / (1 + std::exp(-z[e]));
    if (scoring == Scoring::sigmoid) continue;
    const double sum = sum_of_row(s, experts);
    for (int64_t e = 0; e < experts; ++e) s[e] /= sum;
  }
}

void router_choose(Stream&, const Tensor& scores, const Tensor& bias, const ExpertGroups& groups,
                   const Tensor& index) {
  const int64_t experts = scores.columns(), each = experts / groups.groups;
  for (int64_t r = 0; r < scores.rows(); ++r) {
    std::vector<double> choice(scores.row<double>(r), scores.row<double>(r) + experts);
    for (int64_t e = 0; e < experts; ++e) {
      double& value = choice[static_cast<size_t>(e)];
      if (!bias.empty()) value += static_cast<double>(bias.as<float>()[e]);
      if (std::isnan(value)) value = kLowest;
    }
    std::vector<double> of_group(static_cast<size_t>(groups.groups));
    for (int64_t g = 0; g < groups.groups; ++g) {
      std::vector<double> members(choice.begin() + g * each, choice.begin() + (g + 1) * each);
      std::sort(members.begin(), members.end(), std::greater<>());
      of_group[static_cast<size_t>(g)] = sum_of_row(members.data(), groups.best_of_group);
    }
    std::vector<int64_t> allowed;  // of the kept groups: a dropped one is never chosen
    std::vector<int64_t> chosen_groups = best(of_group, groups.kept_groups);
    std::sort(chosen_groups.begin(), chosen_groups.end());
    for (const int64_t g : chosen_groups)
      for (int64_t e = g * each; e < (g + 1) * each; ++e) allowed.push_back(e);
    std::vector<double> values;
    for (const int64_t e : allowed) values.push_back(choice[static_cast<size_t>(e)]);
    const std::vector<int64_t> order = best(values, index.columns());
    for (int64_t s = 0; s < index.columns(); ++s)
      index.row<int32_t>(r)[s] =
          static_cast<int32_t>(allowed[static_cast<size_t>(order[static_cast<size_t>(s)])]);
  }
}

void router_weights(Stream&, const Tensor& scores, const Tensor& index, const RouterWeights& rule,
                    const Tensor& weights) {
  for (int64_t r = 0; r < index.rows(); ++r) {
    const int32_t* chosen = index.row<int32_t>(r);
    double* w = weights.row<double>(r);
    for (int64_t s = 0; s < index.columns(); ++s) w[s] = scores.row<double>(r)[chosen[s]];
    const double sum = rule.normalize ? sum_of_row(w, index.columns()) + 1e-20 : 1;
    for (int64_t s = 0; s < index.columns(); ++s) w[s] *= rule.factor / sum;
  }
}

// Normalised: w_i = f s_i / S, so ds_i = (f dw_i - sum_j dw_j w_j) / S. Shares: p_e = s_e / Z, so
// ds_e += (dp_e - sum_j dp_j p_j) / Z. Softmax: dz = s (ds - sum_j ds_j s_j); sigmoid: s (1 - s)
// ds.
void router_backward(Stream&, Scoring scoring, const Tensor& scores, const Tensor& index,
                     const RouterWeights& rule, const Tensor& dweights, const SequenceRows& of,
                     const Tensor& dshares, const Tensor& dlogits) {
  const int64_t experts = scores.columns(), k = index.columns();
  for (int64_t r = 0; r < scores.rows(); ++r) {
    const double *s = scores.row<double>(r), *dw = dweights.row<double>(r);
    const double* dp = dshares.row<double>((of.first_row + r) / of.length);
    const int32_t* chosen = index.row<int32_t>(r);
    const double all = sum_of_row(s, experts);
    double along = 0, sum = 0, dot = 0;
    for (int64_t e = 0; e < experts; ++e) along += dp[e] * s[e] / all;
    std::vector<double> ds(static_cast<size_t>(experts));
    for (int64_t e = 0; e < experts; ++e) ds[static_cast<size_t>(e)] = (dp[e] - along) / all;
    for (int64_t i = 0; i < k; ++i) sum += s[chosen[i]];
    sum = rule.normalize ? sum + 1e-20 : 1;
    for (int64_t i = 0; i < k && rule.normalize; ++i) dot += dw[i] * s[chosen[i]] / sum;
    for (int64_t i = 0; i < k; ++i)
      ds[static_cast<size_t>(chosen[i])] += rule.factor * (dw[i] - dot) / sum;
    double through = 0;
    for (int64_t e = 0; e < experts; ++e) through += ds[static_cast<size_t>(e)] * s[e];
    for (int64_t e = 0; e < experts; ++e)
      dlogits.row<double>(r)[e] =
          s[e] * (scoring == Scoring::softmax ? ds[static_cast<size_t>(e)] - through
                                              : ds[static_cast<size_t>(e)] * (1 - s[e]));
  }
}

void count_choices(Stream&, const Tensor& index, int64_t width, const SequenceRows& of,
                   const Tensor& counts) {
  for (int64_t r = 0; r < index.rows(); ++r) {
    std::vector<bool> met(static_cast<size_t>(counts.columns()));
    for (int64_t s = 0; s < index.columns(); ++s) {
      const int64_t place = index.row<int32_t>(r)[s] / width;
      if (met.at(static_cast<size_t>(place))) continue;
      met[static_cast<size_t>(place)] = true;
      ++counts.row<int64_t>((of.first_row + r) / of.length)[place];
    }
  }
}

void balance_shares(Stream&, const Tensor& scores, const SequenceRows& of, const Tensor& shares) {
  for (int64_t q = 0; q < shares.rows(); ++q)
    std::fill_n(shares.row<double>(q), shares.columns(), 0.0);
  for (int64_t r = 0; r < scores.rows(); ++r) {
    const double* s = scores.row<double>(r);
    const double all = sum_of_row(s, scores.columns());
    double* out = shares.row<double>((of.first_row + r) / of.length);
    for (int64_t e = 0; e < scores.columns(); ++e) out[e] += s[e] / all;
  }
}

void balance_loss(Stream&, const BalanceTerm& term, const Tensor& counts, const Tensor& shares,
                  int64_t length, double dsequence, const Tensor& scale, const Tensor& loss,
                  const Tensor& dshares) {
  dsequence *= product_of(scale);
  const int64_t wide = shares.columns() / term.devices, each = counts.columns() / term.devices;
  const auto tokens = static_cast<double>(length), devices = static_cast<double>(term.devices);
  for (int64_t q = 0; q < shares.rows(); ++q) {
    for (int64_t i = 0; i < term.devices; ++i) {
      int64_t count = 0;
      for (int64_t j = i * each; j < (i + 1) * each; ++j) count += counts.row<int64_t>(q)[j];
      const double f = devices / (term.chosen_by * tokens) * static_cast<double>(count);
      for (int64_t e = i * wide; e < (i + 1) * wide; ++e) {
        loss.as<double>()[q] += term.factor * f * shares.row<double>(q)[e] / tokens;
        dshares.row<double>(q)[e] += dsequence * term.factor * f / tokens;
      }
    }
  }
}

void update_router_bias(Stream&, const Tensor& loads, double speed, const Tensor& apply,
                        const Tensor& bias) {
  if (product_of(apply) == 0) return;
  const int64_t experts = loads.columns();
  for (int64_t layer = 0; layer < loads.rows(); ++layer) {
    const int64_t* load = loads.row<int64_t>(layer);
    const int64_t total = std::accumulate(load, load + experts, int64_t{0});
    for (int64_t e = 0; e < experts; ++e) {
      // mean - load, times the number of experts: exact
      const int64_t missing = total - load[e] * experts;
      const int sign = (missing > 0) - (missing < 0);
      bias.row<float>(layer)[e] += static_cast<float>(speed * sign);
    }
  }
}

}  // namespace tessera::reference
