// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/versions.h"

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

std::vector<LackingLibrary> lacking_libraries() {
  std::vector<LackingLibrary> all = lacking_nccl();
  for (LackingLibrary& each : lacking_cudnn()) all.push_back(std::move(each));
  return all;
}

}  // namespace tessera::cuda
