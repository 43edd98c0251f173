// SPDX-License-Identifier: Apache-2.0
// The steps of a run and its tokens, one from the other, and how many sequences each step takes.
// With a ramp of n increments over N tokens, size k (of 0 to n) holds for the steps that begin at
// token k N / n or later. Integers only, so every rank and every resume agree. Immutable.
#pragma once

#include <vector>

#include "data/batch_schedule.h"
#include "trainer/recipe.h"

namespace tessera {

class Timeline {
 public:
  // REQUIRES batch and data.sequence_length that validate() accepts.
  explicit Timeline(const Recipe& recipe);

  const BatchSchedule& batches() const { return batches_; }  // a sample is a sequence
  // The sizes of a step in their order, each once.
  std::vector<int64_t> batch_sizes() const;

  int64_t tokens(int64_t samples) const;      // that so many sequences have
  int64_t tokens_after(int64_t steps) const;  // of so many first steps
  int64_t steps_until(int64_t tokens) const;  // how many first steps have at least so many
  int64_t in_steps(const Length& length) const;
  int64_t in_tokens(const Length& length) const;

  // The steps of a run of this length which has done `steps` and consumed `samples`, and the
  // samples that it will have consumed in the end.
  int64_t total_steps(const Length& run, int64_t steps, int64_t samples) const;
  int64_t total_samples(const Length& run, int64_t steps, int64_t samples) const;

 private:
  int64_t samples_of(int64_t tokens) const;  // that have at least so many

  int64_t sequence_length_;
  BatchSchedule batches_;
};

}  // namespace tessera
