// SPDX-License-Identifier: Apache-2.0
// versions.h where cuDNN was found when the plugin was built.
#include <cudnn.h>

#include "kernels/cuda/versions.h"

namespace tessera::cuda {

std::string cudnn_version() {
  const size_t version = cudnnGetVersion();  // 91900 for 9.19.0
  return "cuDNN " + std::to_string(version / 10000) + "." + std::to_string(version % 10000 / 100);
}

std::vector<LackingLibrary> lacking_cudnn() {
  return {};
}

}  // namespace tessera::cuda
