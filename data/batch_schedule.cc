// SPDX-License-Identifier: Apache-2.0
#include "data/batch_schedule.h"

#include <algorithm>
#include <limits>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kEndless = std::numeric_limits<int64_t>::max();

int64_t ceil_divide(int64_t a, int64_t b) {
  return a / b + (a % b > 0 ? 1 : 0);
}

}  // namespace

BatchSchedule::BatchSchedule(std::vector<Size> sizes) : sizes_(std::move(sizes)) {
  check(!sizes_.empty() && sizes_.front().first_sample == 0,
        "BatchSchedule: no size for the first step");
  for (size_t i = 0; i < sizes_.size(); ++i) {
    check(sizes_[i].samples > 0, "BatchSchedule: a step of", sizes_[i].samples, "samples");
    check(i == 0 || sizes_[i - 1].first_sample <= sizes_[i].first_sample,
          "BatchSchedule: sizes out of order");
  }
}

size_t BatchSchedule::index(int64_t sample) const {
  const auto after =
      std::upper_bound(sizes_.begin(), sizes_.end(), sample,
                       [](int64_t s, const Size& size) { return s < size.first_sample; });
  return static_cast<size_t>(after - sizes_.begin()) - 1;
}

int64_t BatchSchedule::end_of(size_t index) const {
  return index + 1 < sizes_.size() ? sizes_[index + 1].first_sample : kEndless;
}

int64_t BatchSchedule::at(int64_t sample) const {
  return sizes_[index(sample)].samples;
}

int64_t BatchSchedule::steps(int64_t sample, int64_t end) const {
  int64_t steps = 0;
  while (sample < end) {
    const size_t i = index(sample);
    const int64_t more = ceil_divide(std::min(end, end_of(i)) - sample, sizes_[i].samples);
    steps += more;
    if (more > (kEndless - sample) / sizes_[i].samples) break;  // beyond every number
    sample += more * sizes_[i].samples;
  }
  return steps;
}

int64_t BatchSchedule::sample_after(int64_t sample, int64_t steps) const {
  while (steps > 0) {
    const size_t i = index(sample);
    const int64_t more = std::min(steps, ceil_divide(end_of(i) - sample, sizes_[i].samples));
    if (more > (kEndless - sample) / sizes_[i].samples) return kEndless;
    steps -= more;
    sample += more * sizes_[i].samples;
  }
  return sample;
}

}  // namespace tessera
