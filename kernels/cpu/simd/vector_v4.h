// SPDX-License-Identifier: Apache-2.0
// Sixteen f32 lanes as one AVX-512 register. The other vector_*.h say the same in AVX2 and SSE4.2;
// CMake names the one that a unit includes. v3 and v4 give the same bits, operation by operation.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace {

using Vec = __m512;

// The register tile of a matrix product: 8 x 48 in 24 of 32 registers.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 3;

inline Vec zero() {
  return _mm512_setzero_ps();
}
inline Vec broadcast(float value) {
  return _mm512_set1_ps(value);
}
inline Vec load(const float* from) {
  return _mm512_loadu_ps(from);
}
inline void store(float* to, Vec v) {
  _mm512_storeu_ps(to, v);
}
inline void stream(float* to, Vec v) {
  _mm512_stream_ps(to, v);
}  // aligned, past the caches
inline Vec fma(Vec a, Vec b, Vec c) {
  return _mm512_fmadd_ps(a, b, c);
}  // a * b + c
inline Vec fnma(Vec a, Vec b, Vec c) {
  return _mm512_fnmadd_ps(a, b, c);
}  // c - a * b
// a < b ? a : b and a > b ? a : b: b where either is NaN.
inline Vec min(Vec a, Vec b) {
  return _mm512_min_ps(a, b);
}
inline Vec max(Vec a, Vec b) {
  return _mm512_max_ps(a, b);
}
inline Vec sqrt(Vec v) {
  return _mm512_sqrt_ps(v);
}
inline Vec round_to_integer(Vec v) {
  return _mm512_roundscale_ps(v, 8);
}  // nearest even, quiet
inline Vec swap_pairs(Vec v) {
  return _mm512_permute_ps(v, 0xb1);
}
inline Vec select_less(Vec a, Vec b, Vec yes, Vec no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
// How many lanes are infinite or NaN.
inline int count_non_finite(Vec v) {
  const __m512i exponent = _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7f800000));
  return __builtin_popcount(_mm512_cmpeq_epi32_mask(exponent, _mm512_set1_epi32(0x7f800000)));
}
// 2^n for integers n in [-126, 127].
inline Vec power_of_two(Vec n) {
  const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
  return _mm512_castsi512_ps(_mm512_slli_epi32(biased, 23));
}

inline Vec load_bf16(const uint16_t* from) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline void store_bf16(uint16_t* to, Vec v) {
  const __m512i bits = _mm512_castps_si512(v);
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(
      _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtepi32_epi16(_mm512_mask_blend_epi32(nan, rounded, quiet)));
}
inline Vec load_f16(const uint16_t* from) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}
inline void store_f16(uint16_t* to, Vec v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtps_ph(v, 0));
}

// low[0, 8) = the first eight lanes, high[0, 8) = the others.
inline void store_halves(float* low, float* high, Vec v) {
  _mm256_storeu_ps(low, _mm512_castps512_ps256(v));
  _mm256_storeu_ps(high, _mm512_extractf32x8_ps(v, 1));
}

// rows[i], lane j <-> rows[j], lane i, of a square of 16 x 16; moves bits, computes nothing.
inline void transpose(Vec* rows) {
  Vec pairs[16], fours[16], eights[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  // fours[4 i + j], 128-bit part p: column 4 p + j of rows 4 i .. 4 i + 3
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; ++j) {
      const __m512d a = _mm512_castps_pd(pairs[i + j]), b = _mm512_castps_pd(pairs[i + j + 2]);
      fours[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      fours[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  for (int j = 0; j < 4; ++j) {
    eights[j] = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0x88);      // parts 0 and 2
    eights[4 + j] = _mm512_shuffle_f32x4(fours[j], fours[4 + j], 0xdd);  // parts 1 and 3
    eights[8 + j] = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0x88);
    eights[12 + j] = _mm512_shuffle_f32x4(fours[8 + j], fours[12 + j], 0xdd);
  }
  for (int j = 0; j < 8; ++j) {
    rows[j] = _mm512_shuffle_f32x4(eights[j], eights[8 + j], 0x88);
    rows[8 + j] = _mm512_shuffle_f32x4(eights[j], eights[8 + j], 0xdd);
  }
}

// Sixteen f64 lanes, only added to: the sums of squares and of elements.
struct Double {
  __m512d low, high;
};
inline Double zero_double() {
  return {_mm512_setzero_pd(), _mm512_setzero_pd()};
}
inline Double widen(Vec v) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(v)),
          _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
}
inline Double operator+(Double a, Double b) {
  return {a.low + b.low, a.high + b.high};
}
inline Double operator*(Double a, Double b) {
  return {a.low * b.low, a.high * b.high};
}
inline void store(double* to, Double v) {
  _mm512_storeu_pd(to, v.low);
  _mm512_storeu_pd(to + 8, v.high);
}

}  // namespace
