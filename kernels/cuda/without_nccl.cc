// SPDX-License-Identifier: Apache-2.0
// versions.h where NCCL was not found when the plugin was built.
#include "kernels/cuda/versions.h"

namespace tessera::cuda {

std::string nccl_version() {
  return "without NCCL";
}

std::vector<LackingLibrary> lacking_nccl() {
  return {{"NCCL", "ranks on several GPUs cannot talk from GPU to GPU",
           "build the plugin where NCCL is found (apt-get install libnccl-dev, pip install "
           "nvidia-nccl-cu13, or NCCL_HOME=/its/directory)"}};
}

}  // namespace tessera::cuda
