// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/versions.h"

#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <nccl.h>

#include "kernels/cuda/attention_cudnn.h"
#include "kernels/cuda/handles.h"

namespace tessera::cuda {

std::string library_versions() {
  // CUDA counts 13000 for 13.0, NCCL 22809 for 2.28.9, cuDNN 91900 for 9.19.0.
  int cuda = 0, nccl = 0;
  check(cudaRuntimeGetVersion(&cuda), "asking for the runtime's version");
  (void)ncclGetVersion(&nccl);
  const size_t cudnn = cudnnGetVersion();
  const auto text = [](auto number) { return std::to_string(number); };
  return "CUDA " + text(cuda / 1000) + "." + text(cuda % 1000 / 10) + ", NCCL " +
         text(nccl / 10000) + "." + text(nccl % 10000 / 100) + "." + text(nccl % 100) + ", cuDNN " +
         text(cudnn / 10000) + "." + text(cudnn % 10000 / 100) +
         (tessera_library_attention_calls() >= 0 ? "" : " (its attention not built in)");
}

}  // namespace tessera::cuda
