// SPDX-License-Identifier: Apache-2.0
#include "trainer/timeline.h"

#include <algorithm>
#include <limits>

namespace tessera {
namespace {

int64_t ceil_divide(int64_t a, int64_t b) {
  return a / b + (a % b > 0 ? 1 : 0);
}

// k N / n, rounded up; k at most n, so no product is larger than N or n squared.
int64_t share(int64_t k, int64_t n, int64_t whole) {
  return k * (whole / n) + ceil_divide(k * (whole % n), n);
}

BatchSchedule batches_of(const BatchOptions& batch, int64_t sequence_length) {
  const BatchRamp& ramp = batch.ramp;
  if (ramp.from == 0) return batch.global;
  const int64_t increments = (batch.global - ramp.from) / ramp.increment;
  std::vector<BatchSchedule::Size> sizes;
  for (int64_t k = 0; k <= increments; ++k)
    sizes.push_back({ceil_divide(share(k, increments, ramp.tokens), sequence_length),
                     ramp.from + k * ramp.increment});
  return BatchSchedule(std::move(sizes));
}

}  // namespace

Timeline::Timeline(const Recipe& recipe)
    : sequence_length_(recipe.data.sequence_length),
      batches_(batches_of(recipe.batch, recipe.data.sequence_length)) {}

std::vector<int64_t> Timeline::batch_sizes() const {
  std::vector<int64_t> sizes;
  for (const BatchSchedule::Size& size : batches_.sizes()) sizes.push_back(size.samples);
  return sizes;
}

int64_t Timeline::samples_of(int64_t tokens) const {
  return ceil_divide(tokens, sequence_length_);
}

int64_t Timeline::tokens(int64_t samples) const {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return samples > kMost / sequence_length_ ? kMost : samples * sequence_length_;
}

int64_t Timeline::tokens_after(int64_t steps) const {
  return tokens(batches_.sample_after(0, steps));
}

int64_t Timeline::steps_until(int64_t tokens) const {
  return batches_.steps(0, samples_of(tokens));
}

int64_t Timeline::in_steps(const Length& length) const {
  return length.tokens > 0 ? steps_until(length.tokens) : length.steps;
}

int64_t Timeline::in_tokens(const Length& length) const {
  return length.tokens > 0 ? length.tokens : tokens_after(length.steps);
}

int64_t Timeline::total_steps(const Length& run, int64_t steps, int64_t samples) const {
  return run.tokens > 0 ? steps + batches_.steps(samples, samples_of(run.tokens)) : run.steps;
}

int64_t Timeline::total_samples(const Length& run, int64_t steps, int64_t samples) const {
  return batches_.sample_after(samples, total_steps(run, steps, samples) - steps);
}

}  // namespace tessera
