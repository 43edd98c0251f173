// SPDX-License-Identifier: Apache-2.0
// Checks that kernels are right at the sizes of training, where tests that compare with a reference
// on the host are too slow: one implementation against another, and the end of a huge call against
// a small call of the same rows.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera::bench {

struct GpuCheck {
  std::string name;
  // Runs kernels and gives their results; the other way to the same. Both make their own inputs,
  // equal ones, so that one check's memory is gone before the next. Empty: there is no such way.
  using Results = std::function<std::vector<Tensor>(Stream&)>;
  Results one, other;
  bool same_bits = false;  // as each other; else within kMostDifference
};

inline constexpr double kMostDifference = 1e-2;  // ||a - b|| / ||b||: a few roundings of bf16

struct Verdict {
  std::string wrong;      // what, a clause; empty: nothing
  double difference = 0;  // the largest of all results
};
// Runs `one` twice, which must give equal bits, and `other`. Results that are no numbers are wrong.
Verdict verdict_of(Stream& stream, const GpuCheck& check);

// small: sizes for the host. Otherwise 4096 positions, and operands beyond 2^31 bytes, which take
// about 40 GiB of the GPU.
std::vector<GpuCheck> gpu_checks(bool small);

}  // namespace tessera::bench
