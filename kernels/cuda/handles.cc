// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/handles.h"

#include "kernels/cuda/thread_device.h"

namespace tessera {

void check(cudaError_t result, const char* what, Where where) {
  if (result == cudaSuccess) return;
  const bool full = result == cudaErrorMemoryAllocation;
  // An error that does not stick to the context would be told again by the next call.
  (void)cudaGetLastError();
  throw Error(full ? ErrorKind::capacity : ErrorKind::peer,
              std::string("CUDA: ") + what + ": " + cudaGetErrorString(result) + " (" +
                  cudaGetErrorName(result) + ")",
              where);
}

namespace cuda {

CurrentDevice::CurrentDevice(int device) {
  enter_thread(device);
  check(cudaGetDevice(&before_), "asking for the current device");
  if (before_ == device) return;
  check(cudaSetDevice(device), "choosing a device");
  changed_ = true;
}

CurrentDevice::~CurrentDevice() {
  if (changed_) (void)cudaSetDevice(before_);
}

}  // namespace cuda
}  // namespace tessera
