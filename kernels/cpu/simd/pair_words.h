// SPDX-License-Identifier: Apache-2.0
// Words of AVX512_BF16: two neighbouring k. VDPBF16PS adds both products to an f32 lane (rounding
// to nearest even, subnormals as zero).
#pragma once

#include "kernels/cpu/simd/tile.h"

namespace {

struct PairWords {
  using Type = uint32_t;
  static __m512bh load(const uint32_t* from) {
    return reinterpret_cast<__m512bh>(_mm512_loadu_si512(from));
  }
  static __m512bh broadcast(uint32_t word) {
    return reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(word)));
  }
  static Vec multiply_add(__m512bh a, __m512bh b, Vec sum) { return _mm512_dpbf16_ps(sum, a, b); }
};

struct LoadPairs {
  const uint16_t* from;
  int64_t lane_step, whole_words, depth;

  Vec whole(int64_t i, int64_t word) const {
    const uint16_t* at = from + i * lane_step + 2 * word;
    __builtin_prefetch(at + kElementsAhead);
    return _mm512_castsi512_ps(_mm512_loadu_si512(at));
  }
  Vec some(int64_t i, int64_t word, int64_t) const {
    const int64_t left = depth - 2 * word;
    const __mmask32 mask =
        left >= 2 * kLanes ? 0xffffffff : static_cast<__mmask32>((uint64_t{1} << left) - 1);
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, from + i * lane_step + 2 * word));
  }
};

// Depth runs along memory: a word is two neighbouring elements, so words are moved as f32 are.
void pack_pairs(const uint16_t* from, int64_t lane_step, int64_t lanes, int64_t depth,
                int64_t width, float* panel) {
  pack_transposed(LoadPairs{from, lane_step, depth / 2, depth}, lanes, (depth + 1) / 2, width,
                  panel);
}

__m512i load_lanes(const uint16_t* from, int64_t count) {
  const __mmask16 mask = static_cast<__mmask16>(count >= kLanes ? 0xffff : (1u << count) - 1u);
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
}

// Lanes run along memory: two rows are interleaved.
void pack_row_pairs(const uint16_t* from, int64_t depth_step, int64_t lanes, int64_t depth,
                    int64_t width, float* panel) {
  pack_lanes(
      [=](int64_t word, int64_t i, int64_t count) {
        const uint16_t* at = from + 2 * word * depth_step + i;
        __m512i pairs = load_lanes(at, count);
        if (2 * word + 1 < depth)
          pairs = _mm512_or_si512(pairs, _mm512_slli_epi32(load_lanes(at + depth_step, count), 16));
        return _mm512_castsi512_ps(pairs);
      },
      [=](int64_t word, int64_t i) {
        for (int64_t row = 0; row < 2; ++row)
          __builtin_prefetch(from + (2 * word + kRowsAhead + row) * depth_step + i);
      },
      lanes, (depth + 1) / 2, width, panel);
}

}  // namespace
