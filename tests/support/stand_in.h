// SPDX-License-Identifier: Apache-2.0
// Makes Device::Kind::cuda the stand-in's (tests/support/cuda_stand_in) for the whole of a test
// program. Include it in its one .cc file; tessera_test(... GPU_STAND_IN).
#pragma once

#include <cstdlib>
#include <string>

#include <dlfcn.h>

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

// What has happened so far in the stand-in. REQUIRES that it was opened.
struct StandInCounts {
  int64_t queue_waits = 0;  // of the host
  int64_t mark_waits = 0;
  int64_t timed_marks = 0;    // made
  int64_t timed_records = 0;  // of such
};
inline StandInCounts stand_in_counts() {
  void* plugin = dlopen(TESSERA_CUDA_STAND_IN, RTLD_NOW | RTLD_NOLOAD);
  const auto count = reinterpret_cast<void (*)(int64_t*)>(dlsym(plugin, "tessera_stand_in_counts"));
  int64_t counts[4];
  count(counts);
  dlclose(plugin);
  return {counts[0], counts[1], counts[2], counts[3]};
}

}  // namespace tessera::test
