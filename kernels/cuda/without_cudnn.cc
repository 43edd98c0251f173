// SPDX-License-Identifier: Apache-2.0
// versions.h where cuDNN was not found when the plugin was built.
#include "kernels/cuda/versions.h"

namespace tessera::cuda {

std::string cudnn_version() {
  return "without cuDNN";
}

std::vector<LackingLibrary> lacking_cudnn() {
  return {{"cuDNN", "attention is Tessera's own and TESSERA_ATTENTION=cudnn is refused",
           "build the plugin where cuDNN is found (apt-get install libcudnn9-dev-cuda-13, pip "
           "install nvidia-cudnn-cu13, or CUDNN_HOME=/its/directory)"}};
}

}  // namespace tessera::cuda
