// SPDX-License-Identifier: Apache-2.0
// Ranges (kernels/base/trace.h) as NVTX's, in the domain "tessera", for Nsight and its like. Kept
// inside kernels/cuda.
#pragma once

namespace tessera::cuda {

// Does nothing where no profiler has injected itself into this process ($NVTX_INJECTION64_PATH,
// which `nsys profile` sets): Ranges stay as cheap as they are.
void tell_profilers_of_ranges();

}  // namespace tessera::cuda
