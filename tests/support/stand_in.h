// SPDX-License-Identifier: Apache-2.0
// Makes Device::Kind::cuda the stand-in's (tests/support/cuda_stand_in) for the whole of a test
// program. Include it in its one .cc file; tessera_test(... GPU_STAND_IN).
#pragma once

#include <cstdlib>

#include "kernels/base/device.h"

namespace tessera::test {

inline constexpr int64_t kStandInBytes = int64_t{64} << 20;
inline constexpr Device kStandIn{Device::Kind::cuda};

// Before anybody asks for the plugin, which is opened once.
inline const bool kUsesStandIn = [] {
  setenv("TESSERA_CUDA_PLUGIN", TESSERA_CUDA_STAND_IN, 1);
  setenv("TESSERA_STAND_IN_MEMORY", std::to_string(kStandInBytes).c_str(), 1);
  return true;
}();

}  // namespace tessera::test
