// SPDX-License-Identifier: Apache-2.0
// Attention of bf16 with products of pairs (pair_words.h). Probabilities and their gradients are
// rounded to bf16 on their way into the next product, as tensors between kernels are; maxima, sums
// and everything that is added up stay f32.
#include "kernels/cpu/simd/attention_tiles.h"
#include "kernels/cpu/simd/pair_words.h"

namespace {

struct PairTiles : PairWords {
  static constexpr int64_t kDepth = 2;
  template <typename Function>
  [[gnu::always_inline]] static void with_element(Element, Function function) {
    function(StoredBf16{});
  }
  template <typename S>
  static void pack_rows(const uint16_t* from, int64_t lane_step, int64_t lanes, int64_t depth,
                        int64_t width, uint32_t* panel) {
    void* const words = panel;
    pack_pairs(from, lane_step, lanes, depth, width, static_cast<float*>(words));
  }
  template <typename S>
  static void pack_columns(const uint16_t* from, int64_t depth_step, int64_t lanes, int64_t depth,
                           int64_t width, uint32_t* panel) {
    pack_row_pairs(from, depth_step, lanes, depth, width, reinterpret_cast<float*>(panel));
  }
  static __m512i rounded(Vec v) {
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
  }
  static void store(void* to, const Vec* vectors) {
    const __m512i high = _mm512_slli_epi32(rounded(vectors[1]), 16);
    _mm512_storeu_si512(to, _mm512_or_si512(rounded(vectors[0]), high));
  }
  static void store_along(void* to, Vec v) {
    _mm256_storeu_si256(static_cast<__m256i*>(to),
                        reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v)));
  }
};

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const AttentionLoops attention = {forward_scratch<PairTiles>, forward<PairTiles>,
                                  backward_scratch<PairTiles>, backward<PairTiles>};
}
