// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/vector.h"

namespace {

void sigmoids(const float* logits, int64_t count, float* scores) {
  for_vectors(
      count, [=](int64_t i) { store(scores + i, sigmoid(load(logits + i))); },
      [=](int64_t i, int64_t n) {
        store_first<StoredF32>(scores + i, sigmoid(load_first<StoredF32>(logits + i, n)), n);
      });
}

void softmax(const float* logits, int64_t count, float* scores) {
  float top = logits[0];
  for (int64_t i = 1; i < count; ++i) top = logits[i] > top ? logits[i] : top;
  Vec sums = zero();
  for_vectors(
      count,
      [&](int64_t i) {
        const Vec e = exp(load(logits + i) - broadcast(top));
        sums = sums + e;
        store(scores + i, e);
      },
      [&](int64_t i, int64_t n) {
        alignas(64) float lanes[kLanes] = {};
        const Vec e = exp(load_first<StoredF32>(logits + i, n) - broadcast(top));
        store_first<StoredF32>(lanes, e, n);
        sums = sums + load(lanes);
        store_first<StoredF32>(scores + i, e, n);
      });
  const Vec all = broadcast(sum(sums));
  for_vectors(
      count, [=](int64_t i) { store(scores + i, load(scores + i) / all); },
      [=](int64_t i, int64_t n) {
        store_first<StoredF32>(scores + i, load_first<StoredF32>(scores + i, n) / all, n);
      });
}

void combine(Element element, const void* const* rows, const float* weights, int64_t num_rows,
             void* out, int64_t count) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto row = [=](int64_t r) { return static_cast<const typename S::Type*>(rows[r]); };
    auto* to = static_cast<typename S::Type*>(out);
    for_vectors(
        count,
        [=](int64_t i) {
          Vec sum = S::load(row(0) + i) * broadcast(weights[0]);
          for (int64_t r = 1; r < num_rows; ++r)
            sum = fma(S::load(row(r) + i), broadcast(weights[r]), sum);
          S::store(to + i, sum);
        },
        [=](int64_t i, int64_t n) {
          Vec sum = load_first<S>(row(0) + i, n) * broadcast(weights[0]);
          for (int64_t r = 1; r < num_rows; ++r)
            sum = fma(load_first<S>(row(r) + i, n), broadcast(weights[r]), sum);
          store_first<S>(to + i, sum, n);
        });
  });
}

void weigh(Element element, float weight, void* g, void* h, int64_t count, float* dot) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    auto* a = static_cast<typename S::Type*>(g);
    auto* b = static_cast<typename S::Type*>(h);
    const Vec factor = broadcast(weight);
    Vec sums = zero();
    for_vectors(
        count,
        [&](int64_t i) {
          const Vec x = S::load(a + i), y = S::load(b + i);
          sums = fma(x, y, sums);
          S::store(a + i, x * factor);
          S::store(b + i, y * factor);
        },
        [&](int64_t i, int64_t n) {
          const Vec x = load_first<S>(a + i, n), y = load_first<S>(b + i, n);
          sums = fma(x, y, sums);
          store_first<S>(a + i, x * factor, n);
          store_first<S>(b + i, y * factor, n);
        });
    *dot = sum(sums);
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const RouterLoops router = {softmax, sigmoids, combine, weigh};
}
