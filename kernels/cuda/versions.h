// SPDX-License-Identifier: Apache-2.0
// The CUDA libraries as they are at run time, not as they were when this was compiled, and those
// that this build does without. with_cudnn.cc or without_cudnn.cc, with_nccl.cc or without_nccl.cc:
// CMake chooses by what it finds. Kept inside kernels/cuda.
#pragma once

#include <string>
#include <vector>

#include "kernels/cuda_plugin.h"

namespace tessera::cuda {

// "CUDA 13.0, NCCL 2.28.9, cuDNN 9.19 (its attention not built in)"; "without NCCL" in its place.
std::string library_versions();

// "NCCL 2.28.9" or "without NCCL"; what is lacked: one or none.
std::string nccl_version();
std::vector<LackingLibrary> lacking_nccl();
std::string cudnn_version();
std::vector<LackingLibrary> lacking_cudnn();

}  // namespace tessera::cuda
