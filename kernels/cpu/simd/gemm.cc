// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/tile.h"

namespace {

void pack(Element element, const void* from, int64_t lane_step, int64_t depth_step, int64_t lanes,
          int64_t depth, int64_t width, void* panel) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(from);
    auto* words = static_cast<float*>(panel);
    if (depth_step == 1)
      pack_rows<S>(in, lane_step, lanes, depth, width, words);
    else
      pack_columns<S>(in, depth_step, lanes, depth, width, words);
  });
}

void multiply(const void* a, int64_t a_lane, const void* b, int64_t words, int64_t vectors,
              bool add, int64_t rows, float* c, int64_t c_step, const void* next) {
  multiply_lanes<FloatWords>(static_cast<const float*>(a), a_lane, static_cast<const float*>(b),
                             words, vectors, add, c, c_step, rows, static_cast<const float*>(next));
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const GemmLoops gemm = {1, Element::f32, pack, multiply};
}
