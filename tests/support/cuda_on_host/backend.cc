// SPDX-License-Identifier: Apache-2.0
// Linked into a test, this makes the CPU's streams run the CUDA kernels, fiber by fiber (fibers.h):
// the program's own cpu_backend() comes before that of libtessera.so.
#include "kernels/cuda/backend.h"

#include "kernels/cuda/native.h"

namespace tessera {

const Backend& cpu_backend() {
  return cuda::backend();
}

void check(cudaError_t result, const char* what, Where where) {
  if (result != cudaSuccess) throw Error(ErrorKind::peer, what, where);
}

}  // namespace tessera
