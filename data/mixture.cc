// SPDX-License-Identifier: Apache-2.0
#include "data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kLargestPeriod = 1'000'000;
constexpr size_t kMostSources = 1024;
constexpr int64_t kStride = 256;       // samples between two stored accounts
constexpr double kSameWeight = 1e-12;  // what double arithmetic leaves of "0.1 + 0.2"

// The smallest q <= limit with value * q within rounding of a whole number, by continued fractions.
int64_t denominator(double value, int64_t limit) {
  int64_t before = 0, current = 1;  // denominators of two successive convergents
  double rest = value - std::floor(value);
  while (true) {
    const double scaled = value * static_cast<double>(current);
    if (std::abs(scaled - std::round(scaled)) <= kSameWeight * static_cast<double>(current))
      return current;
    if (rest < kSameWeight) return limit;
    const double inverse = 1 / rest, whole = std::floor(inverse);
    const double next = whole * static_cast<double>(current) + static_cast<double>(before);
    if (next > static_cast<double>(limit)) return limit;
    before = current;
    current = static_cast<int64_t>(next);
    rest = inverse - whole;
  }
}

// Whole shares of `period` by largest remainder.
std::vector<int64_t> apportion(const std::vector<double>& fractions, int64_t period) {
  std::vector<int64_t> shares;
  std::vector<size_t> order(fractions.size());
  for (const double f : fractions)
    shares.push_back(static_cast<int64_t>(std::floor(f * static_cast<double>(period))));
  std::iota(order.begin(), order.end(), size_t{0});
  const auto remainder = [&](size_t i) {
    return fractions[i] * static_cast<double>(period) - static_cast<double>(shares[i]);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return remainder(a) > remainder(b); });
  int64_t left = period - std::accumulate(shares.begin(), shares.end(), int64_t{0});
  for (size_t i = 0; left > 0; i = (i + 1) % order.size(), --left) ++shares[order[i]];
  return shares;
}

}  // namespace

Mixture::Mixture(const std::vector<double>& weights) {
  check(!weights.empty() && weights.size() <= kMostSources, ErrorKind::usage,
        "a mixture needs 1 .. 1024 sources, got", weights.size());
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    check(std::isfinite(weights[i]) && weights[i] > 0, ErrorKind::usage, "the weight of source", i,
          "must be a positive number, got", weights[i]);
    sum += weights[i];
  }
  std::vector<double> fractions;
  for (const double weight : weights) {
    fractions.push_back(weight / sum);
    const int64_t q = denominator(fractions.back(), kLargestPeriod);
    period_ = std::min(std::lcm(period_, q), kLargestPeriod);
  }
  shares_ = apportion(fractions, period_);
  for (size_t i = 0; i < shares_.size(); ++i)
    check(shares_[i] > 0, ErrorKind::usage, "the weight of source", i,
          "is less than a millionth of the sum:", weights[i]);
  build_pattern();
}

void Mixture::build_pattern() {
  const size_t k = shares_.size();
  std::vector<int64_t> used(k, 0);
  if (k == 1) return;
  pattern_.reserve(static_cast<size_t>(period_));
  const auto slack = static_cast<int64_t>(2 * k - 2);
  for (int64_t n = 1; n <= period_; ++n) {
    if ((n - 1) % kStride == 0) counts_.insert(counts_.end(), used.begin(), used.end());
    size_t chosen = k;
    double earliest = 0;
    for (size_t i = 0; i < k; ++i) {
      // All times the period and the slack: whole numbers below 2^53, exact in a double.
      const int64_t owed = n * shares_[i] - period_ * used[i];
      if (owed * slack < period_) continue;  // its turn has not come
      const double deadline = static_cast<double>(period_ * (slack - 1) - owed * slack) /
                              static_cast<double>(shares_[i]);
      if (chosen == k || deadline < earliest) {
        chosen = i;
        earliest = deadline;
      }
    }
    check(chosen < k, "no source is due at sample", n);
    ++used[chosen];
    pattern_.push_back(static_cast<uint16_t>(chosen));
  }
}

int64_t Mixture::used_in_pattern(int source, int64_t length) const {
  if (length == period_) return shares_[static_cast<size_t>(source)];
  const int64_t stored = length / kStride;
  int64_t count = counts_[static_cast<size_t>(stored * num_sources() + source)];
  for (int64_t i = stored * kStride; i < length; ++i)
    count += pattern_[static_cast<size_t>(i)] == source;
  return count;
}

int64_t Mixture::used(int source, int64_t num_samples) const {
  check(source >= 0 && source < num_sources() && num_samples >= 0, "no such account:", source,
        num_samples);
  if (num_sources() == 1) return num_samples;
  return num_samples / period_ * shares_[static_cast<size_t>(source)] +
         used_in_pattern(source, num_samples % period_);
}

Mixture::Draw Mixture::draw(int64_t sample) const {
  check(sample >= 0, "a sample index is at least 0, got", sample);
  if (num_sources() == 1) return {0, sample};
  const int source = pattern_[static_cast<size_t>(sample % period_)];
  return {source, used(source, sample)};
}

double Mixture::weight(int source) const {
  return static_cast<double>(shares_.at(static_cast<size_t>(source))) /
         static_cast<double>(period_);
}

}  // namespace tessera
