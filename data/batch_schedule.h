// SPDX-License-Identifier: Apache-2.0
// How many samples each step of a run takes: one number throughout, or one after the other. The
// number depends on nothing but the sample that the step begins with, so a run that goes on from a
// checkpoint, in whatever layout, cuts the rest of its samples as it would have. Exact in integers.
// A value; safe to share between threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tessera {

class BatchSchedule {
 public:
  struct Size {
    int64_t first_sample = 0;  // steps that begin here or later, up to the next size, ...
    int64_t samples = 0;       // ... take so many
  };

  BatchSchedule(int64_t samples) : BatchSchedule(std::vector<Size>{{0, samples}}) {}
  // REQUIRES that the first size begins at 0, none before its predecessor, and each is above 0. Of
  // several that begin at one sample the last one counts.
  explicit BatchSchedule(std::vector<Size> sizes);

  const std::vector<Size>& sizes() const { return sizes_; }
  int64_t at(int64_t sample) const;  // samples of the step that begins there
  // Steps, the first beginning at `sample`, until at least `end` samples are consumed.
  int64_t steps(int64_t sample, int64_t end) const;
  // The sample that the step begins with which is `steps` later than the one at `sample`; the
  // largest number there is where no number can say it.
  int64_t sample_after(int64_t sample, int64_t steps) const;

 private:
  size_t index(int64_t sample) const;
  int64_t end_of(size_t index) const;  // the sample with which the next size begins

  std::vector<Size> sizes_;
};

}  // namespace tessera
