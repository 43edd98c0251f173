// SPDX-License-Identifier: Apache-2.0
// A row's experts fit the first-level cache, and there are few of them beside the model's width:
// plain loops, sums of a row in f64.
#include "kernels/router.h"

#include <limits>
#include <memory>
#include <numeric>
#include <vector>

#include "kernels/arguments.h"
#include "kernels/cpu/parallel.h"

namespace tessera::cpu {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();

double sum_of_row(const float* row, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(row[i]);
  return sum;
}

// Takes the largest of values[0, count), of equals the first, and gives its place; what was taken
// is marked in `taken`.
int64_t take_best(const float* values, bool* taken, int64_t count) {
  int64_t best = -1;
  for (int64_t i = 0; i < count; ++i)
    if (!taken[i] && (best < 0 || values[i] > values[best])) best = i;
  taken[best] = true;
  return best;
}

// What one row's choice needs beside the scores.
struct Scratch {
  explicit Scratch(int64_t experts, int64_t groups)
      : choice(static_cast<size_t>(experts)),
        of_group(static_cast<size_t>(groups)),
        taken(std::make_unique<bool[]>(static_cast<size_t>(experts))),
        kept(std::make_unique<bool[]>(static_cast<size_t>(groups))) {}
  std::vector<float> choice, of_group;
  std::unique_ptr<bool[]> taken, kept;
};

// Marks every expert of a group that is not kept as taken.
void drop_groups(const ExpertGroups& groups, int64_t each, Scratch& scratch) {
  for (int64_t g = 0; g < groups.groups; ++g) {
    float& sum = scratch.of_group[static_cast<size_t>(g)];
    sum = 0;
    for (int64_t i = 0; i < groups.best_of_group; ++i)
      sum += scratch.choice[static_cast<size_t>(
          g * each +
          take_best(scratch.choice.data() + g * each, scratch.taken.get() + g * each, each))];
  }
  std::fill_n(scratch.kept.get(), groups.groups, false);
  for (int64_t i = 0; i < groups.kept_groups; ++i)
    take_best(scratch.of_group.data(), scratch.kept.get(), groups.groups);
  for (int64_t g = 0; g < groups.groups; ++g)
    std::fill_n(scratch.taken.get() + g * each, each, !scratch.kept[static_cast<size_t>(g)]);
}

}  // namespace

void router_scores(Stream&, Scoring scoring, const Tensor& logits, const Tensor& scores) {
  const RouterLoops& router = loops().router;
  const auto one = scoring == Scoring::softmax ? router.softmax : router.sigmoids;
  for_rows(logits.rows(), logits.columns(),
           [&](int64_t r) { one(logits.row<float>(r), logits.columns(), scores.row<float>(r)); });
}

void router_choose(Stream&, const Tensor& scores, const Tensor& bias, const ExpertGroups& groups,
                   const Tensor& index) {
  const int64_t experts = scores.columns(), each = experts / groups.groups;
  constexpr int64_t kRows = 64;
  parallel_for(divide_up(scores.rows(), kRows), [&](int64_t task) {
    Scratch scratch(experts, groups.groups);
    for (int64_t r = task * kRows; r < std::min(scores.rows(), (task + 1) * kRows); ++r) {
      const float* s = scores.row<float>(r);
      for (int64_t e = 0; e < experts; ++e) {
        const float value = bias.empty() ? s[e] : s[e] + bias.as<float>()[e];
        scratch.choice[static_cast<size_t>(e)] = value == value ? value : kLowest;
      }
      std::fill_n(scratch.taken.get(), experts, false);
      if (groups.kept_groups < groups.groups) drop_groups(groups, each, scratch);
      for (int64_t i = 0; i < index.columns(); ++i)
        index.row<int32_t>(r)[i] =
            static_cast<int32_t>(take_best(scratch.choice.data(), scratch.taken.get(), experts));
    }
  });
}

void router_weights(Stream&, const Tensor& scores, const Tensor& index, const RouterWeights& rule,
                    const Tensor& weights) {
  for_rows(index.rows(), index.columns(), [&](int64_t r) {
    const int32_t* chosen = index.row<int32_t>(r);
    float* w = weights.row<float>(r);
    for (int64_t s = 0; s < index.columns(); ++s) w[s] = scores.row<float>(r)[chosen[s]];
    const double sum = rule.normalize ? sum_of_row(w, index.columns()) + 1e-20 : 1;
    for (int64_t s = 0; s < index.columns(); ++s)
      w[s] = static_cast<float>(static_cast<double>(w[s]) * (rule.factor / sum));
  });
}

// The formulas are beside the reference, kernels/reference/router.cc.
void router_backward(Stream&, Scoring scoring, const Tensor& scores, const Tensor& index,
                     const RouterWeights& rule, const Tensor& dweights, const SequenceRows& of,
                     const Tensor& dshares, const Tensor& dlogits) {
  const int64_t experts = scores.columns(), k = index.columns();
  for_rows(scores.rows(), experts * 8, [&](int64_t r) {
    const float *s = scores.row<float>(r), *dw = dweights.row<float>(r);
    const float* dp = dshares.row<float>((of.first_row + r) / of.length);
    const int32_t* chosen = index.row<int32_t>(r);
    float* out = dlogits.row<float>(r);
    const double all = sum_of_row(s, experts);
    double along = 0, sum = 0, dot = 0, through = 0;
    for (int64_t e = 0; e < experts; ++e)
      along += static_cast<double>(dp[e]) * static_cast<double>(s[e]);
    along /= all;
    for (int64_t e = 0; e < experts; ++e)
      out[e] = static_cast<float>((static_cast<double>(dp[e]) - along) / all);
    for (int64_t i = 0; i < k; ++i) sum += static_cast<double>(s[chosen[i]]);
    sum = rule.normalize ? sum + 1e-20 : 1;
    for (int64_t i = 0; i < k && rule.normalize; ++i)
      dot += static_cast<double>(dw[i]) * static_cast<double>(s[chosen[i]]) / sum;
    for (int64_t i = 0; i < k; ++i)
      out[chosen[i]] += static_cast<float>(rule.factor * (static_cast<double>(dw[i]) - dot) / sum);
    if (scoring == Scoring::softmax)
      for (int64_t e = 0; e < experts; ++e)
        through += static_cast<double>(out[e]) * static_cast<double>(s[e]);
    const auto mean = static_cast<float>(through);
    for (int64_t e = 0; e < experts; ++e)
      out[e] = s[e] * (scoring == Scoring::softmax ? out[e] - mean : out[e] * (1 - s[e]));
  });
}

void count_choices(Stream&, const Tensor& index, int64_t width, const SequenceRows& of,
                   const Tensor& counts) {
  std::vector<int64_t> last(static_cast<size_t>(counts.columns()), -1);  // row that was counted
  for (int64_t r = 0; r < index.rows(); ++r)
    for (int64_t s = 0; s < index.columns(); ++s) {
      const auto place = static_cast<size_t>(index.row<int32_t>(r)[s] / width);
      if (last.at(place) == r) continue;
      last[place] = r;
      ++counts.row<int64_t>((of.first_row + r) / of.length)[place];
    }
}

void balance_shares(Stream&, const Tensor& scores, const SequenceRows& of, const Tensor& shares) {
  const int64_t experts = scores.columns();
  parallel_for(shares.rows(), [&](int64_t q) {
    double* out = shares.row<double>(q);
    std::fill_n(out, experts, 0.0);
    const int64_t first = std::max<int64_t>(0, q * of.length - of.first_row);
    const int64_t end = std::min(scores.rows(), (q + 1) * of.length - of.first_row);
    for (int64_t r = first; r < end; ++r) {
      const float* s = scores.row<float>(r);
      const double factor = 1 / sum_of_row(s, experts);
      for (int64_t e = 0; e < experts; ++e) out[e] += static_cast<double>(s[e]) * factor;
    }
  });
}

void balance_loss(Stream&, const BalanceTerm& term, const Tensor& counts, const Tensor& shares,
                  int64_t length, double dsequence, const Tensor& scale, const Tensor& loss,
                  const Tensor& dshares) {
  dsequence *= product_of(scale);
  const int64_t wide = shares.columns() / term.devices, each = counts.columns() / term.devices;
  const auto tokens = static_cast<double>(length), devices = static_cast<double>(term.devices);
  for (int64_t q = 0; q < shares.rows(); ++q)
    for (int64_t i = 0; i < term.devices; ++i) {
      const double count = static_cast<double>(std::accumulate(
          counts.row<int64_t>(q) + i * each, counts.row<int64_t>(q) + (i + 1) * each, int64_t{0}));
      const double slope = term.factor * devices / (term.chosen_by * tokens) * count / tokens;
      for (int64_t e = i * wide; e < (i + 1) * wide; ++e) {
        loss.as<double>()[q] += slope * shares.row<double>(q)[e];
        dshares.row<float>(q)[e] += static_cast<float>(dsequence * slope);
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
      const int64_t missing = total - load[e] * experts;
      bias.row<float>(layer)[e] += static_cast<float>(speed * ((missing > 0) - (missing < 0)));
    }
  }
}

}  // namespace tessera::cpu
