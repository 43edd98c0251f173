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

template <typename... Numbers>
void ask_stand_in(const char* function, Numbers*... numbers) {
  void* plugin = dlopen(TESSERA_CUDA_STAND_IN, RTLD_NOW | RTLD_NOLOAD);
  reinterpret_cast<void (*)(Numbers * ...)>(dlsym(plugin, function))(numbers...);
  dlclose(plugin);
}

// How often the host has waited for the stand-in. REQUIRES that it was opened.
struct Waits {
  int64_t for_queues = 0;
  int64_t for_marks = 0;
};
inline Waits stand_in_waits() {
  Waits waits;
  ask_stand_in("tessera_stand_in_waits", &waits.for_queues, &waits.for_marks);
  return waits;
}

// What it did with graphs so far. REQUIRES that it was opened.
struct GraphCounts {
  int64_t recorded = 0;
  int64_t launched = 0;
  int64_t alive = 0;
};
inline GraphCounts stand_in_graphs() {
  GraphCounts counts;
  ask_stand_in("tessera_stand_in_graphs", &counts.recorded, &counts.launched, &counts.alive);
  return counts;
}

}  // namespace tessera::test
