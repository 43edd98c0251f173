// SPDX-License-Identifier: Apache-2.0
// What benchmarks measure with: operands that are no zeros, seconds, medians.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/copy.h"

namespace tessera {

inline Tensor noise(Stream& stream, DType dtype, int64_t rows, int64_t columns) {
  const Tensor wide({}, DType::f32, {rows, columns});
  uint32_t state = 1;
  for (int64_t i = 0; i < wide.size(); ++i) {
    state = state * 1664525u + 1013904223u;
    wide.as<float>()[i] = static_cast<float>(state >> 8) / static_cast<float>(1 << 24) - 0.5f;
  }
  const Tensor tensor({}, dtype, {rows, columns});
  cast(stream, wide, tensor);
  return tensor;
}

template <typename Work>
double seconds_of(int runs, Work work) {
  const auto start = std::chrono::steady_clock::now();
  for (int run = 0; run < runs; ++run) work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / runs;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace tessera
