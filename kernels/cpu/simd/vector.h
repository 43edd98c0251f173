// SPDX-License-Identifier: Apache-2.0
// What every vector kernel uses, on top of the sixteen lanes of vector_<path>.h (CMake names the
// file): elements of any storage type, incomplete vectors, sums in a fixed order, exp.
//
// A unit that includes this is compiled once for each path. It must not emit a weak symbol: the
// linker would keep one copy, perhaps the AVX-512 one, for every path. Hence anonymous namespaces,
// no std:: and no header of the project but kernels/cpu/loops.h. tests/kernels/weak_symbols.cmake
// holds this against the objects.
#pragma once

#include TESSERA_CPU_VECTOR

#include "kernels/cpu/loops.h"
#include "kernels/cpu/simd/tables.h"

namespace {

using tessera::cpu::Element;

constexpr int64_t kLanes = 16;

// Storage types: how sixteen of their elements are read and written.
struct StoredF32 {
  using Type = float;
  static Vec load(const float* from) { return ::load(from); }
  static void store(float* to, Vec v) { ::store(to, v); }
};
struct StoredBf16 {
  using Type = uint16_t;
  static Vec load(const uint16_t* from) { return load_bf16(from); }
  static void store(uint16_t* to, Vec v) { store_bf16(to, v); }
};
struct StoredF16 {
  using Type = uint16_t;
  static Vec load(const uint16_t* from) { return load_f16(from); }
  static void store(uint16_t* to, Vec v) { store_f16(to, v); }
};

// Calls function(Stored{}) with the storage type of `element`.
template <typename Function>
[[gnu::always_inline]] inline void with_element(Element element, Function function) {
  switch (element) {
    case Element::f32: return function(StoredF32{});
    case Element::bf16: return function(StoredBf16{});
    case Element::f16: return function(StoredF16{});
  }
}

// The first `count` < 16 elements; the other lanes are zero.
template <typename Stored>
inline Vec load_first(const typename Stored::Type* from, int64_t count) {
  alignas(64) typename Stored::Type lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return Stored::load(lanes);
}
template <typename Stored>
inline void store_first(typename Stored::Type* to, Vec v, int64_t count) {
  alignas(64) typename Stored::Type lanes[kLanes];
  Stored::store(lanes, v);
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

// Calls function(first element, lanes) for each vector of a range; only the last is incomplete.
template <typename Full, typename Part>
[[gnu::always_inline]] inline void for_vectors(int64_t count, Full full, Part part) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) full(i);
  if (i < count) part(i, count - i);
}

// Lanes added as a binary tree: 0+8, 1+9, ..., then 0+4, ...
template <typename Number>
inline Number tree_sum(const Number* lanes) {
  Number sums[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) sums[i] = lanes[i];
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}
inline float sum(Vec v) {
  alignas(64) float lanes[kLanes];
  store(lanes, v);
  return tree_sum(lanes);
}
inline double sum(Double v) {
  alignas(64) double lanes[kLanes];
  store(lanes, v);
  return tree_sum(lanes);
}
inline float largest(Vec v) {
  alignas(64) float lanes[kLanes];
  store(lanes, v);
  float result = lanes[0];
  for (int64_t i = 1; i < kLanes; ++i) result = lanes[i] > result ? lanes[i] : result;
  return result;
}

// e^x within 2 ulp, as Cephes' expf does it: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial in r.
// Infinity above 88.8, 0 below -104, NaN for NaN.
[[gnu::always_inline]] inline Vec exp(Vec x) {
  x = min(broadcast(89.0f), max(broadcast(-104.0f), x));
  const Vec n = round_to_integer(x * broadcast(1.44269504088896341f));
  Vec r = fnma(n, broadcast(0.693359375f), x);
  r = fnma(n, broadcast(-2.12194440e-4f), r);
  Vec p = broadcast(1.9875691500e-4f);
  p = fma(p, r, broadcast(1.3981999507e-3f));
  p = fma(p, r, broadcast(8.3334519073e-3f));
  p = fma(p, r, broadcast(4.1665795894e-2f));
  p = fma(p, r, broadcast(1.6666665459e-1f));
  p = fma(p, r, broadcast(5.0000001201e-1f));
  p = fma(p, r * r, r) + broadcast(1.0f);
  // In two steps: 2^n itself may be outside the range of f32 where the product is not.
  const Vec half = round_to_integer(n * broadcast(0.5f));
  return p * power_of_two(half) * power_of_two(n - half);
}

// 1 / (1 + e^-x)
[[gnu::always_inline]] inline Vec sigmoid(Vec x) {
  return broadcast(1.0f) / (broadcast(1.0f) + exp(zero() - x));
}

}  // namespace
