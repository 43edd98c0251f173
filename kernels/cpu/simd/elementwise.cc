// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/vector.h"

namespace {

void cast(Element from, const void* in, Element to, void* out, int64_t count) {
  with_element(from, [=](auto source) {
    with_element(to, [=](auto destination) {
      using From = decltype(source);
      using To = decltype(destination);
      const auto* x = static_cast<const typename From::Type*>(in);
      auto* y = static_cast<typename To::Type*>(out);
      for_vectors(
          count, [=](int64_t i) { To::store(y + i, From::load(x + i)); },
          [=](int64_t i, int64_t n) { store_first<To>(y + i, load_first<From>(x + i, n), n); });
    });
  });
}

void stream(const float* from, int64_t from_pitch, float* to, int64_t to_pitch, int64_t rows,
            int64_t columns) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < columns; i += 16)
      stream(to + row * to_pitch + i, load(from + row * from_pitch + i));
  _mm_sfence();
}

// out[i] = function(a[i], b[i])
template <typename Function>
[[gnu::always_inline]] inline void binary(Element element, const void* a, const void* b, void* out,
                                          int64_t count, Function function) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto* x = static_cast<const typename S::Type*>(a);
    const auto* y = static_cast<const typename S::Type*>(b);
    auto* z = static_cast<typename S::Type*>(out);
    for_vectors(
        count, [=](int64_t i) { S::store(z + i, function(S::load(x + i), S::load(y + i))); },
        [=](int64_t i, int64_t n) {
          store_first<S>(z + i, function(load_first<S>(x + i, n), load_first<S>(y + i, n)), n);
        });
  });
}

void add(Element element, const void* a, const void* b, void* out, int64_t count) {
  binary(element, a, b, out, count, [](Vec x, Vec y) { return x + y; });
}

void scale(Element element, const void* in, float factor, void* out, int64_t count) {
  const Vec factors = broadcast(factor);
  binary(element, in, in, out, count, [=](Vec x, Vec) { return x * factors; });
}

void swiglu(Element element, const void* gate, const void* up, void* y, int64_t count) {
  binary(element, gate, up, y, count, [](Vec z, Vec u) { return z * sigmoid(z) * u; });
}

void swiglu_backward(Element element, const void* gate, const void* up, const void* dy, void* dgate,
                     void* dup, int64_t count) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto* gates = static_cast<const typename S::Type*>(gate);
    const auto* ups = static_cast<const typename S::Type*>(up);
    const auto* dys = static_cast<const typename S::Type*>(dy);
    auto* dgates = static_cast<typename S::Type*>(dgate);
    auto* dups = static_cast<typename S::Type*>(dup);
    const auto gate_gradient = [](Vec z, Vec s, Vec u, Vec g) {
      return g * u * s * fma(z, broadcast(1.0f) - s, broadcast(1.0f));
    };
    for_vectors(
        count,
        [=](int64_t i) {
          const Vec z = S::load(gates + i), u = S::load(ups + i), g = S::load(dys + i);
          const Vec s = sigmoid(z);
          S::store(dgates + i, gate_gradient(z, s, u, g));
          S::store(dups + i, g * z * s);
        },
        [=](int64_t i, int64_t n) {
          const Vec z = load_first<S>(gates + i, n), u = load_first<S>(ups + i, n);
          const Vec g = load_first<S>(dys + i, n), s = sigmoid(z);
          store_first<S>(dgates + i, gate_gradient(z, s, u, g), n);
          store_first<S>(dups + i, g * z * s, n);
        });
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const ElementwiseLoops elementwise = {cast, stream, add, scale, swiglu, swiglu_backward};
}
