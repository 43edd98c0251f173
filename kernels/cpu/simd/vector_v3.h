// SPDX-License-Identifier: Apache-2.0
// Sixteen f32 lanes as two AVX2 registers: see vector_v4.h.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace {

struct Vec {
  __m256 low, high;
};

// The register tile of a matrix product: 4 x 16 in 8 of 16 registers.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 1;

inline Vec zero() {
  return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}
inline Vec broadcast(float value) {
  return {_mm256_set1_ps(value), _mm256_set1_ps(value)};
}
inline Vec load(const float* from) {
  return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
}
inline void store(float* to, Vec v) {
  _mm256_storeu_ps(to, v.low);
  _mm256_storeu_ps(to + 8, v.high);
}
inline void stream(float* to, Vec v) {
  _mm256_stream_ps(to, v.low);
  _mm256_stream_ps(to + 8, v.high);
}
inline Vec operator+(Vec a, Vec b) {
  return {a.low + b.low, a.high + b.high};
}
inline Vec operator-(Vec a, Vec b) {
  return {a.low - b.low, a.high - b.high};
}
inline Vec operator*(Vec a, Vec b) {
  return {a.low * b.low, a.high * b.high};
}
inline Vec operator/(Vec a, Vec b) {
  return {a.low / b.low, a.high / b.high};
}
inline Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
}
inline Vec min(Vec a, Vec b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
inline Vec max(Vec a, Vec b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
inline Vec sqrt(Vec v) {
  return {_mm256_sqrt_ps(v.low), _mm256_sqrt_ps(v.high)};
}
inline Vec round_to_integer(Vec v) {
  return {_mm256_round_ps(v.low, 8), _mm256_round_ps(v.high, 8)};
}
inline Vec swap_pairs(Vec v) {
  return {_mm256_permute_ps(v.low, 0xb1), _mm256_permute_ps(v.high, 0xb1)};
}
inline Vec select_less(Vec a, Vec b, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.low, yes.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
          _mm256_blendv_ps(no.high, yes.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
}
inline int count_non_finite(__m256 half) {
  const __m256i infinity = _mm256_set1_epi32(0x7f800000);
  const __m256i exponent = _mm256_and_si256(_mm256_castps_si256(half), infinity);
  return __builtin_popcount(static_cast<unsigned>(
      _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(exponent, infinity)))));
}
inline int count_non_finite(Vec v) {
  return count_non_finite(v.low) + count_non_finite(v.high);
}
inline __m256 power_of_two(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
inline Vec power_of_two(Vec n) {
  return {power_of_two(n.low), power_of_two(n.high)};
}

inline __m256 load_half_bf16(const uint16_t* from) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Vec load_bf16(const uint16_t* from) {
  return {load_half_bf16(from), load_half_bf16(from + 8)};
}
inline __m256i round_bf16(__m256 v) {  // the 16 bits in the low half of each lane
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(
      _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, quiet, nan);
}
inline void store_bf16(uint16_t* to, Vec v) {
  const __m256i packed = _mm256_packus_epi32(round_bf16(v.low), round_bf16(v.high));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(packed, 0xd8));
}
inline Vec load_f16(const uint16_t* from) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))),
          _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 8)))};
}
inline void store_f16(uint16_t* to, Vec v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(v.low, 0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), _mm256_cvtps_ph(v.high, 0));
}

// low[0, 8) = the first eight lanes, high[0, 8) = the others.
inline void store_halves(float* low, float* high, Vec v) {
  _mm256_storeu_ps(low, v.low);
  _mm256_storeu_ps(high, v.high);
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
  __m256d part[4];
};
inline Double zero_double() {
  const __m256d none = _mm256_setzero_pd();
  return {{none, none, none, none}};
}
inline Double widen(Vec v) {
  return {{_mm256_cvtps_pd(_mm256_castps256_ps128(v.low)),
           _mm256_cvtps_pd(_mm256_extractf128_ps(v.low, 1)),
           _mm256_cvtps_pd(_mm256_castps256_ps128(v.high)),
           _mm256_cvtps_pd(_mm256_extractf128_ps(v.high, 1))}};
}
inline Double operator+(Double a, Double b) {
  for (int i = 0; i < 4; ++i) a.part[i] += b.part[i];
  return a;
}
inline Double operator*(Double a, Double b) {
  for (int i = 0; i < 4; ++i) a.part[i] *= b.part[i];
  return a;
}
inline void store(double* to, Double v) {
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(to + 4 * i, v.part[i]);
}

}  // namespace
