// SPDX-License-Identifier: Apache-2.0
// What a kernel launch needs of a Stream, and the check after it. Kept inside kernels/cuda.
//   kernel<<<blocks, threads, 0, native(stream)>>>(...);
//   check_launch("rms_norm");
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/base/stream.h"
#include "kernels/cuda/handles.h"

namespace tessera::cuda {

// The queue handed out by kernels/cuda/runtime.cc is CUDA's stream itself. REQUIRES a stream of
// Device::Kind::cuda whose device is the thread's current one, which making the Stream saw to.
inline cudaStream_t native(const Stream& stream) {
  return reinterpret_cast<cudaStream_t>(stream.queue());
}

// That the launch was accepted; what goes wrong while it runs is found when the stream is waited
// for.
inline void check_launch(const char* kernel, Where where = Where()) {
  check(cudaGetLastError(), kernel, where);
}

}  // namespace tessera::cuda
