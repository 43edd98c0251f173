// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC'11). The number for (seed, stream, index) is a pure function: the same bits on any
// device and for any cut of a tensor over ranks. Host functions; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace tessera {

struct Philox {
  uint64_t seed = 0;
  uint64_t stream = 0;  // which use of randomness, e.g. stream_named("model.norm.weight")

  std::array<uint32_t, 4> block(uint64_t index) const;  // ten rounds on counter (index, stream)
  uint64_t bits(uint64_t index) const;                  // 64 uniform bits
  double uniform(uint64_t index) const;                 // in [0, 1), 53 bits
  double normal(uint64_t index) const;                  // mean 0, deviation 1 (Box-Muller)
};

uint64_t stream_named(std::string_view name);  // FNV-1a, 64 bits

}  // namespace tessera
