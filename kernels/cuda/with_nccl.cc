// SPDX-License-Identifier: Apache-2.0
// versions.h where NCCL was found when the plugin was built.
#include <nccl.h>

#include "kernels/cuda/versions.h"

namespace tessera::cuda {

std::string nccl_version() {
  int version = 0;  // 22809 for 2.28.9
  (void)ncclGetVersion(&version);
  return "NCCL " + std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100) +
         "." + std::to_string(version % 100);
}

std::vector<LackingLibrary> lacking_nccl() {
  return {};
}

}  // namespace tessera::cuda
