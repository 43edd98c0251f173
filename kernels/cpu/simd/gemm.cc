// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/simd/tile.h"

namespace {

void pack(Element element, const void* from, int64_t lane_step, int64_t depth_step, int64_t lanes,
          int64_t depth, int64_t width, float* panel) {
  with_element(element, [=](auto stored) {
    using S = decltype(stored);
    const auto* in = static_cast<const typename S::Type*>(from);
    if (depth_step == 1)
      pack_rows<S>(in, lane_step, lanes, depth, width, panel);
    else
      pack_columns<S>(in, depth_step, lanes, depth, width, panel);
  });
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const GemmLoops gemm = {pack, multiply_tile};
}
