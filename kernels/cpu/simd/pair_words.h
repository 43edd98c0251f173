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

// Depth runs along memory: a word is two neighbouring elements, so words are moved as f32 are.
void pack_pairs(const uint16_t* from, int64_t lane_step, int64_t lanes, int64_t depth,
                int64_t width, float* panel) {
  pack_transposed(
      [=](int64_t i, int64_t first, int64_t) {
        const uint16_t* at = from + i * lane_step + 2 * first;
        __builtin_prefetch(at + kElementsAhead);
        const int64_t some = depth - 2 * first;
        const __mmask32 mask =
            some >= 2 * kLanes ? 0xffffffff : static_cast<__mmask32>((uint64_t{1} << some) - 1);
        return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, at));
      },
      lanes, (depth + 1) / 2, width, panel);
}

__m512i load_lanes(const uint16_t* from, int64_t count) {
  const __mmask16 mask = static_cast<__mmask16>(count >= kLanes ? 0xffff : (1u << count) - 1u);
  return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from));
}

// Lanes run along memory: two rows are interleaved.
void pack_row_pairs(const uint16_t* from, int64_t depth_step, int64_t lanes, int64_t depth,
                    int64_t width, uint32_t* panel) {
  for (int64_t k = 0; k < depth; k += 2, from += 2 * depth_step, panel += width) {
    for (int64_t i = 0; i < width; i += 2 * kLanes)  // a line of memory, at most
      for (int64_t row = 0; row < 2; ++row)
        __builtin_prefetch(from + (kRowsAhead + row) * depth_step + i);
    for (int64_t i = 0; i < width; i += kLanes) {
      const int64_t some = i < lanes ? lanes - i : 0, room = width - i;
      __m512i words = load_lanes(from + i, some);
      if (k + 1 < depth)
        words =
            _mm512_or_si512(words, _mm512_slli_epi32(load_lanes(from + depth_step + i, some), 16));
      const __mmask16 mask = static_cast<__mmask16>(room >= kLanes ? 0xffff : (1u << room) - 1u);
      _mm512_mask_storeu_epi32(panel + i, mask, words);
    }
  }
}

}  // namespace
