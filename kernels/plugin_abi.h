// SPDX-License-Identifier: Apache-2.0
// What a program and its plug-in must agree on, as one line of text made of the headers that each
// was compiled with: a number raised by hand, the number of kernels, sizes of the classes that
// cross the border, and the C++ library's version.
#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/base/accelerator.h"

namespace tessera {

inline constexpr int kPluginAbi = 4;  // raised with every change of Accelerator or of a kernel

// Internal linkage, so that each library has its own.
static inline std::string compiled_plugin_abi() {
  constexpr size_t kKernels = sizeof(Backend) / sizeof(void*) - 1;
  return "tessera plugin " + std::to_string(kPluginAbi) + ", " + std::to_string(kKernels) +
         " kernels, tensor " + std::to_string(sizeof(Tensor)) + ", stream " +
         std::to_string(sizeof(Stream)) + ", libstdc++ " + std::to_string(_GLIBCXX_RELEASE);
}

}  // namespace tessera
