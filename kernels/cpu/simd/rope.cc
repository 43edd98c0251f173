// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/vector.h"

namespace {

using tessera::cpu::RopeRow;

// x = x * cosines + swap_pairs(x) * sines, with each cosine twice and each sine as -s, s.
template <typename S>
void rotate_interleaved(const float* cosines, const float* sines, int64_t count,
                        typename S::Type* x) {
  const auto rotated = [](Vec v, Vec c, Vec s) { return fma(v, c, swap_pairs(v) * s); };
  for_vectors(
      count,
      [=](int64_t i) {
        S::store(x + i, rotated(S::load(x + i), load(cosines + i), load(sines + i)));
      },
      [=](int64_t i, int64_t n) {
        const Vec c = load_first<StoredF32>(cosines + i, n);
        const Vec s = load_first<StoredF32>(sines + i, n);
        store_first<S>(x + i, rotated(load_first<S>(x + i, n), c, s), n);
      });
}

template <typename S>
void rotate_halves(const float* cosines, const float* sines, int64_t pairs, bool inverse,
                   typename S::Type* a, typename S::Type* b) {
  const Vec sign = broadcast(inverse ? -1.0f : 1.0f);
  for_vectors(
      pairs,
      [=](int64_t i) {
        const Vec c = load(cosines + i), s = load(sines + i) * sign;
        const Vec first = S::load(a + i), second = S::load(b + i);
        S::store(a + i, fnma(second, s, first * c));
        S::store(b + i, fma(first, s, second * c));
      },
      [=](int64_t i, int64_t n) {
        const Vec c = load_first<StoredF32>(cosines + i, n);
        const Vec s = load_first<StoredF32>(sines + i, n) * sign;
        const Vec first = load_first<S>(a + i, n), second = load_first<S>(b + i, n);
        store_first<S>(a + i, fnma(second, s, first * c), n);
        store_first<S>(b + i, fma(first, s, second * c), n);
      });
}

void rotate(Element element, const RopeRow& row, void* x) {
  const float *cosines = row.table, *sines = row.table + row.pairs;
  alignas(64) float twice_cosines[2 * tessera::cpu::kMaxRopePairs];
  alignas(64) float twice_sines[2 * tessera::cpu::kMaxRopePairs];
  if (row.interleaved) {
    const float sign = row.inverse ? -1.0f : 1.0f;
    for (int64_t i = 0; i < row.pairs; ++i) {
      twice_cosines[2 * i] = twice_cosines[2 * i + 1] = cosines[i];
      twice_sines[2 * i] = -sign * sines[i];
      twice_sines[2 * i + 1] = sign * sines[i];
    }
  }
  with_element(element, [&](auto stored) {
    using S = decltype(stored);
    for (int64_t head = 0; head < row.num_heads; ++head) {
      auto* part = static_cast<typename S::Type*>(x) + head * row.head_dim + row.offset;
      if (row.interleaved)
        rotate_interleaved<S>(twice_cosines, twice_sines, 2 * row.pairs, part);
      else
        rotate_halves<S>(cosines, sines, row.pairs, row.inverse, part, part + row.pairs);
    }
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const RopeLoops rope = {rotate};
}
