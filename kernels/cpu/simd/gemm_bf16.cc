// SPDX-License-Identifier: Apache-2.0
// Matrix products of bf16 with AVX512_BF16.
#include "kernels/cpu/simd/pair_words.h"

namespace {

void pack(Element, const void* from, int64_t lane_step, int64_t depth_step, int64_t lanes,
          int64_t depth, int64_t width, void* panel) {
  const auto* in = static_cast<const uint16_t*>(from);
  auto* words = static_cast<float*>(panel);
  if (depth_step == 1)
    pack_pairs(in, lane_step, lanes, depth, width, words);
  else
    pack_row_pairs(in, depth_step, lanes, depth, width, words);
}

void multiply(const void* a, int64_t a_lane, const void* b, int64_t words, int64_t vectors,
              bool add, int64_t rows, float* c, int64_t c_step, const void* next) {
  multiply_lanes<PairWords>(static_cast<const uint32_t*>(a), a_lane,
                            static_cast<const uint32_t*>(b), words, vectors, add, c, c_step, rows,
                            static_cast<const uint32_t*>(next));
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const GemmLoops gemm = {2, Element::bf16, pack, multiply};
}
