// SPDX-License-Identifier: Apache-2.0
// The CUDA libraries as they are at run time, not as they were when this was compiled.
#pragma once

#include <string>

namespace tessera::cuda {

std::string library_versions();  // "CUDA 13.0, NCCL 2.28.9, cuDNN 9.19"

}  // namespace tessera::cuda
