// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/thread_device.h"

#include <atomic>

#include <cuda_runtime_api.h>

#include "kernels/cuda/handles.h"

namespace tessera::cuda {
namespace {

constexpr int kNone = -1;
std::atomic<int> of_process{kNone};
thread_local bool chosen = false;

}  // namespace

void choose_device(int device) {
  check(cudaSetDevice(device), "choosing a device");
  chosen = true;
  of_process = device;
}

void enter_thread() noexcept {
  if (chosen) return;
  const int device = of_process;
  if (device != kNone) chosen = cudaSetDevice(device) == cudaSuccess;
}

void enter_thread(int device) {
  enter_thread();
  if (!chosen) choose_device(device);
}

}  // namespace tessera::cuda
