// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/versions.h"

#include <utility>

#include <cuda_runtime_api.h>

#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/handles.h"

namespace tessera::cuda {

std::string library_versions() {
  int cuda = 0;  // 13000 for 13.0
  check(cudaRuntimeGetVersion(&cuda), "asking for the runtime's version");
  constexpr int kMajor = 1000, kMinor = 10;
  return "CUDA " + std::to_string(cuda / kMajor) + "." + std::to_string(cuda % kMajor / kMinor) +
         ", " + nccl_version() + ", " + cudnn_version() +
         (tessera_library_attention_calls() >= 0 || !lacking_cudnn().empty()
              ? ""
              : " (its attention not built in)");
}

}  // namespace tessera::cuda

// Answers tessera::lacking_libraries().
extern "C" std::vector<tessera::LackingLibrary> tessera_plugin_lacks() {
  std::vector<tessera::LackingLibrary> all = tessera::cuda::lacking_nccl();
  for (tessera::LackingLibrary& each : tessera::cuda::lacking_cudnn())
    all.push_back(std::move(each));
  return all;
}
