// SPDX-License-Identifier: Apache-2.0
// Sixteen f32 lanes as four SSE4.2 registers: see vector_v4.h. There is no fused multiply-add, so
// this path rounds twice where the others round once.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace {

struct Vec {
  __m128 part[4];
};

// The register tile of a matrix product: 2 x 16 in 8 of 16 registers.
constexpr int kTileRows = 2;
constexpr int kTileVectors = 1;

template <typename Function>
[[gnu::always_inline]] inline Vec each(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}

inline Vec broadcast(float value) {
  return each([&](int) { return _mm_set1_ps(value); });
}
inline Vec zero() {
  return broadcast(0);
}
inline Vec load(const float* from) {
  return each([&](int i) { return _mm_loadu_ps(from + 4 * i); });
}
inline void store(float* to, Vec v) {
  for (int i = 0; i < 4; ++i) _mm_storeu_ps(to + 4 * i, v.part[i]);
}
inline void stream(float* to, Vec v) {
  for (int i = 0; i < 4; ++i) _mm_stream_ps(to + 4 * i, v.part[i]);
}
inline Vec operator+(Vec a, Vec b) {
  return each([&](int i) { return a.part[i] + b.part[i]; });
}
inline Vec operator-(Vec a, Vec b) {
  return each([&](int i) { return a.part[i] - b.part[i]; });
}
inline Vec operator*(Vec a, Vec b) {
  return each([&](int i) { return a.part[i] * b.part[i]; });
}
inline Vec operator/(Vec a, Vec b) {
  return each([&](int i) { return a.part[i] / b.part[i]; });
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return a * b + c;
}
inline Vec fnma(Vec a, Vec b, Vec c) {
  return c - a * b;
}
inline Vec min(Vec a, Vec b) {
  return each([&](int i) { return _mm_min_ps(a.part[i], b.part[i]); });
}
inline Vec max(Vec a, Vec b) {
  return each([&](int i) { return _mm_max_ps(a.part[i], b.part[i]); });
}
inline Vec sqrt(Vec v) {
  return each([&](int i) { return _mm_sqrt_ps(v.part[i]); });
}
inline Vec round_to_integer(Vec v) {
  return each([&](int i) { return _mm_round_ps(v.part[i], 8); });
}
inline Vec swap_pairs(Vec v) {
  return each([&](int i) { return _mm_shuffle_ps(v.part[i], v.part[i], 0xb1); });
}
inline Vec select_less(Vec a, Vec b, Vec yes, Vec no) {
  return each([&](int i) {
    return _mm_blendv_ps(no.part[i], yes.part[i], _mm_cmplt_ps(a.part[i], b.part[i]));
  });
}
inline int count_non_finite(Vec v) {
  const __m128i infinity = _mm_set1_epi32(0x7f800000);
  int count = 0;
  for (int i = 0; i < 4; ++i) {
    const __m128i exponent = _mm_and_si128(_mm_castps_si128(v.part[i]), infinity);
    count += __builtin_popcount(static_cast<unsigned>(
        _mm_movemask_ps(_mm_castsi128_ps(_mm_cmpeq_epi32(exponent, infinity)))));
  }
  return count;
}
inline Vec power_of_two(Vec n) {
  return each([&](int i) {
    const __m128i biased = _mm_add_epi32(_mm_cvtps_epi32(n.part[i]), _mm_set1_epi32(127));
    return _mm_castsi128_ps(_mm_slli_epi32(biased, 23));
  });
}

inline Vec load_bf16(const uint16_t* from) {
  return each([&](int i) {
    const __m128i bits = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 4 * i));
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(bits), 16));
  });
}
inline void store_bf16(uint16_t* to, Vec v) {
  for (int i = 0; i < 4; ++i) {
    const __m128i bits = _mm_castps_si128(v.part[i]);
    const __m128i upper = _mm_srli_epi32(bits, 16);
    const __m128i odd = _mm_and_si128(upper, _mm_set1_epi32(1));
    const __m128i rounded =
        _mm_srli_epi32(_mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff))), 16);
    const __m128i quiet = _mm_or_si128(upper, _mm_set1_epi32(0x40));
    const __m128i nan = _mm_castps_si128(_mm_cmpunord_ps(v.part[i], v.part[i]));
    const __m128i lanes = _mm_blendv_epi8(rounded, quiet, nan);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 4 * i), _mm_packus_epi32(lanes, lanes));
  }
}

// No F16C at this level: one element at a time, as kernels/base/half.h does it.
inline float from_f16(uint16_t value) {
  const uint32_t sign = static_cast<uint32_t>(value & 0x8000u) << 16;
  const uint32_t exponent = (value >> 10) & 0x1fu, mantissa = value & 0x3ffu;
  uint32_t bits = sign | ((exponent + 112u) << 23) | (mantissa << 13);
  if (exponent == 0x1fu) bits = sign | 0x7f800000u | (mantissa << 13);
  if (exponent == 0x1fu && mantissa != 0) bits |= 0x400000u;  // quiet, as F16C does
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    __builtin_memcpy(&bits, &magnitude, sizeof bits);
    bits |= sign;
  }
  float result;
  __builtin_memcpy(&result, &bits, sizeof result);
  return result;
}
inline uint16_t to_f16_bits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  uint32_t result;
  if (magnitude > 0x7f800000u) {
    result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);  // keeps the payload, as F16C does
  } else if (magnitude >= 0x477ff000u) {
    result = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    float shifted;
    __builtin_memcpy(&shifted, &magnitude, sizeof shifted);
    shifted += 0.5f;
    __builtin_memcpy(&result, &shifted, sizeof result);
    result -= 0x3f000000u;
  } else {
    result = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13;
  }
  return static_cast<uint16_t>(sign | result);
}
inline Vec load_f16(const uint16_t* from) {
  float lanes[16];
  for (int i = 0; i < 16; ++i) lanes[i] = from_f16(from[i]);
  return load(lanes);
}
inline void store_f16(uint16_t* to, Vec v) {
  float lanes[16];
  store(lanes, v);
  for (int i = 0; i < 16; ++i) to[i] = to_f16_bits(lanes[i]);
}

// low[0, 8) = the first eight lanes, high[0, 8) = the others.
inline void store_halves(float* low, float* high, Vec v) {
  for (int i = 0; i < 2; ++i) _mm_storeu_ps(low + 4 * i, v.part[i]);
  for (int i = 0; i < 2; ++i) _mm_storeu_ps(high + 4 * i, v.part[2 + i]);
}

// rows[i], lane j <-> rows[j], lane i, of a square of 16 x 16; moves bits, computes nothing.
inline void transpose(Vec* rows) {
  alignas(32) float square[16][16], turned[16][16];
  for (int i = 0; i < 16; ++i) store(square[i], rows[i]);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) turned[j][i] = square[i][j];
  for (int i = 0; i < 16; ++i) rows[i] = load(turned[i]);
}

struct Double {
  __m128d part[8];
};
inline Double zero_double() {
  Double result;
  for (__m128d& part : result.part) part = _mm_setzero_pd();
  return result;
}
inline Double widen(Vec v) {
  Double result;
  for (int i = 0; i < 4; ++i) {
    result.part[2 * i] = _mm_cvtps_pd(v.part[i]);
    result.part[2 * i + 1] = _mm_cvtps_pd(_mm_movehl_ps(v.part[i], v.part[i]));
  }
  return result;
}
inline Double operator+(Double a, Double b) {
  for (int i = 0; i < 8; ++i) a.part[i] += b.part[i];
  return a;
}
inline Double operator*(Double a, Double b) {
  for (int i = 0; i < 8; ++i) a.part[i] *= b.part[i];
  return a;
}
inline void store(double* to, Double v) {
  for (int i = 0; i < 8; ++i) _mm_storeu_pd(to + 2 * i, v.part[i]);
}

}  // namespace
