// SPDX-License-Identifier: Apache-2.0
// Which source the n-th sample comes from, when sources are mixed by weight. After any number n of
// samples, source i has given between n w_i - 1 and n w_i + 1 of them: Tijdeman's rule ("The
// chairman assignment problem", Discrete Mathematics 32, 1980), which allows no drift and needs no
// random numbers.
//
// Weights are taken as fractions of the smallest common denominator up to a million that meets them
// (0.7 and 0.3: tenths), else as millionths; so the pattern repeats, and the account of any sample
// is a look-up: a run resumes from the number of samples alone.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

class Mixture {
 public:
  // Positive, finite weights; their sum need not be 1. Throws Error{usage} naming the weight.
  explicit Mixture(const std::vector<double>& weights);

  struct Draw {
    int source;
    int64_t index;  // how many samples of this source came before
  };
  Draw draw(int64_t sample) const;                      // sample >= 0; thread-safe
  int64_t used(int source, int64_t num_samples) const;  // of the first num_samples
  double weight(int source) const;                      // as taken; the weights sum to 1
  int num_sources() const { return static_cast<int>(shares_.size()); }

 private:
  void build_pattern();
  int64_t used_in_pattern(int source, int64_t length) const;
  std::vector<int64_t> shares_;    // of each source in one period
  int64_t period_ = 1;             // sum of the shares
  std::vector<uint16_t> pattern_;  // source of each sample of a period
  std::vector<int64_t> counts_;    // used so far at every kStride-th sample, per source
};

}  // namespace tessera
