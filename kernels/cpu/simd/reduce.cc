// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/vector.h"

namespace {

double sum_of_squares(Element element, const void* x, int64_t count) {
  Double squares = zero_double();  // the square of an f32 is exact in f64
  with_element(element, [=, &squares](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(x);
    const auto add = [&](Vec v) {
      const Double wide = widen(v);
      squares = squares + wide * wide;
    };
    for_vectors(
        count, [&](int64_t i) { add(S::load(in + i)); },
        [&](int64_t i, int64_t n) { add(load_first<S>(in + i, n)); });
  });
  return sum(squares);
}

int64_t count_non_finite(Element element, const void* x, int64_t count) {
  int64_t found = 0;
  with_element(element, [=, &found](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(x);
    for_vectors(
        count, [&](int64_t i) { found += count_non_finite(S::load(in + i)); },
        [&](int64_t i, int64_t n) { found += count_non_finite(load_first<S>(in + i, n)); });
  });
  return found;
}

void add_to(Element element, const void* x, float* sums, int64_t count) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(x);
    for_vectors(
        count, [=](int64_t i) { store(sums + i, load(sums + i) + S::load(in + i)); },
        [=](int64_t i, int64_t n) {
          const Vec total = load_first<StoredF32>(sums + i, n) + load_first<S>(in + i, n);
          store_first<StoredF32>(sums + i, total, n);
        });
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const ReduceLoops reduce = {sum_of_squares, count_non_finite, add_to};
}
