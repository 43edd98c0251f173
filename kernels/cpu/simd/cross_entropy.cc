// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/vector.h"

namespace {

void stats(const float* logits, int64_t count, float* max_and_sum) {
  const float lowest = -__builtin_inff();
  float maximum = lowest;
  Vec maxima = broadcast(lowest);
  for_vectors(
      count, [&](int64_t i) { maxima = max(load(logits + i), maxima); },
      [&](int64_t i, int64_t n) {
        for (int64_t j = i; j < i + n; ++j) maximum = logits[j] > maximum ? logits[j] : maximum;
      });
  const float of_lanes = largest(maxima);
  maximum = of_lanes > maximum ? of_lanes : maximum;
  max_and_sum[0] = maximum;
  max_and_sum[1] = 0;
  if (maximum == lowest) return;  // every class of this slice is masked
  const Vec top = broadcast(maximum);
  Vec sums[2] = {zero(), zero()};
  float rest = 0;
  for_vectors(
      count,
      [&](int64_t i) {
        Vec& chain = sums[(i / kLanes) & 1];
        chain = chain + exp(load(logits + i) - top);
      },
      [&](int64_t i, int64_t n) {
        alignas(64) float lanes[kLanes];
        store(lanes, exp(load_first<StoredF32>(logits + i, n) - top));
        for (int64_t j = 0; j < n; ++j) rest += lanes[j];
      });
  max_and_sum[1] = sum(sums[0] + sums[1]) + rest;
}

void backward(const float* logits, int64_t count, int64_t target, float log_sum_exp, float dloss,
              Element element, void* dlogits) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    auto* out = static_cast<typename S::Type*>(dlogits);
    const Vec shift = broadcast(log_sum_exp), factor = broadcast(dloss);
    const Vec target_logit = broadcast(target < 0 ? 0.0f : logits[target]);  // before it is lost
    for_vectors(
        count, [=](int64_t i) { S::store(out + i, exp(load(logits + i) - shift) * factor); },
        [=](int64_t i, int64_t n) {
          const Vec p = exp(load_first<StoredF32>(logits + i, n) - shift);
          store_first<S>(out + i, p * factor, n);
        });
    if (target >= 0)
      store_first<S>(out + target, (exp(target_logit - shift) - broadcast(1.0f)) * factor, 1);
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const CrossEntropyLoops cross_entropy = {stats, backward};
}
