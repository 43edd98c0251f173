// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/attention_tiles.h"

namespace {

struct FloatTiles : FloatWords {
  static constexpr int64_t kDepth = 1;
  template <typename Function>
  [[gnu::always_inline]] static void with_element(Element element, Function function) {
    ::with_element(element, function);
  }
  template <typename S>
  static void pack_rows(const typename S::Type* from, int64_t lane_step, int64_t lanes,
                        int64_t depth, int64_t width, float* panel) {
    ::pack_rows<S>(from, lane_step, lanes, depth, width, panel);
  }
  template <typename S>
  static void pack_columns(const typename S::Type* from, int64_t depth_step, int64_t lanes,
                           int64_t depth, int64_t width, float* panel) {
    ::pack_columns<S>(from, depth_step, lanes, depth, width, panel);
  }
  static void store(float* to, const Vec* vectors) { ::store(to, vectors[0]); }
  static void store_along(float* to, Vec v) { ::store(to, v); }
};

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const AttentionLoops attention = {forward_scratch<FloatTiles>, forward<FloatTiles>,
                                  backward_scratch<FloatTiles>, backward<FloatTiles>};
}
