// SPDX-License-Identifier: Apache-2.0
// The CUDA backend's table. Kept inside kernels/cuda.
#pragma once

#include "kernels/backend.h"

namespace tessera::cuda {

// Every entry is there.
const Backend& backend();

}  // namespace tessera::cuda
