// SPDX-License-Identifier: Apache-2.0
// The CUDA backend's table. Kept inside kernels/cuda.
#pragma once

#include "kernels/backend.h"

namespace tessera::cuda {

// Every entry is there.
const Backend& backend();

// Accelerator::set_tf32() and tf32(): how gemm_cublaslt.cc multiplies f32. Thread-safe.
void set_tf32(int device, bool wanted);
bool tf32(int device);

}  // namespace tessera::cuda
