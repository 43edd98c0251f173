// SPDX-License-Identifier: Apache-2.0
// Nothing but VDPBF16PS: as many chains as the register tile of a bf16 gemm has.
#include "kernels/cpu/simd/vector.h"

namespace {

constexpr int kChains = kTileRows * kTileVectors;

// Each pair adds 1 - 1.
float run(int64_t rounds) {
  Vec sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = broadcast(static_cast<float>(i));
  const auto ones = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80));
  const auto signs = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(0xbf803f80)));
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], ones, signs);
  Vec total = zero();
  for (int i = 0; i < kChains; ++i) total = total + sums[i];
  return sum(total);
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const PeakLoops peak = {4 * kLanes * kChains, run};
}
