// SPDX-License-Identifier: Apache-2.0
// Nothing but multiply-adds: as many chains as the register tile of a gemm has.
#include "kernels/cpu/simd/vector.h"

namespace {

constexpr int kChains = kTileRows * kTileVectors;

// sum = sum / 2 + 1: stays between 0 and 2.
float run(int64_t rounds) {
  Vec sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = broadcast(static_cast<float>(i) / kChains);
  const Vec half = broadcast(0.5f), one = broadcast(1.0f);
  for (int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) sums[i] = fma(sums[i], half, one);
  Vec total = zero();
  for (int i = 0; i < kChains; ++i) total = total + sums[i];
  return sum(total);
}

}  // namespace

namespace tessera::cpu::TESSERA_CPU_NAMESPACE {
const PeakLoops peak = {2 * kLanes * kChains, run};
}
