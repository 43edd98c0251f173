// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/vector.h"

namespace {

using tessera::cpu::AdamWFactors;

struct Moments {
  Vec p, m, v;
};

[[gnu::always_inline]] inline Moments updated(const AdamWFactors& f, Vec grad, Moments old) {
  const Vec g = grad * broadcast(f.grad_scale);
  const Vec m = fma(broadcast(f.beta1), old.m, broadcast(f.one_minus_beta1) * g);
  const Vec v = fma(broadcast(f.beta2), old.v, broadcast(f.one_minus_beta2) * g * g);
  const Vec root = sqrt(v * broadcast(f.inv_correction2)) + broadcast(f.epsilon);
  const Vec decayed = old.p * broadcast(f.decay);
  return {decayed - broadcast(f.step_size) * m / root, m, v};
}

void adamw(const AdamWFactors& factors, const float* grad, float* master, float* m, float* v,
           Element element, void* compute, int64_t count) {
  const AdamWFactors f = factors;
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    auto* copies = static_cast<typename S::Type*>(compute);
    for_vectors(
        count,
        [=](int64_t i) {
          const Moments now =
              updated(f, load(grad + i), {load(master + i), load(m + i), load(v + i)});
          store(master + i, now.p);
          store(m + i, now.m);
          store(v + i, now.v);
          S::store(copies + i, now.p);
        },
        [=](int64_t i, int64_t n) {
          using F = StoredF32;
          const Moments now = updated(
              f, load_first<F>(grad + i, n),
              {load_first<F>(master + i, n), load_first<F>(m + i, n), load_first<F>(v + i, n)});
          store_first<F>(master + i, now.p, n);
          store_first<F>(m + i, now.m, n);
          store_first<F>(v + i, now.v, n);
          store_first<S>(copies + i, now.p, n);
        });
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const UpdateLoops update = {adamw};
}
