// SPDX-License-Identifier: Apache-2.0
// Looks at the device that CUDA is told of in each thread, by a cudaSetDevice that only writes it
// down.
#include "kernels/cuda/thread_device.h"

#include <thread>
#include <vector>

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "kernels/cuda/handles.h"

namespace {

// The devices that the calling thread was told, in order; a new thread has none.
std::vector<int>& told() {
  thread_local std::vector<int> devices;
  return devices;
}

}  // namespace

extern "C" cudaError_t cudaSetDevice(int device) {
  told().push_back(device);
  return cudaSuccess;
}
extern "C" cudaError_t cudaGetDevice(int* device) {
  *device = told().empty() ? 0 : told().back();
  return cudaSuccess;
}
extern "C" cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
extern "C" const char* cudaGetErrorString(cudaError_t) {
  return "";
}
extern "C" const char* cudaGetErrorName(cudaError_t) {
  return "";
}

namespace tessera::cuda {
namespace {

using Devices = std::vector<int>;

// The devices that a new thread was told by the end of work().
template <typename Work>
Devices in_new_thread(Work work) {
  Devices devices;
  std::thread([&] {
    work();
    devices = told();
  }).join();
  return devices;
}

TEST(ThreadDevice, IsTheProcesssInEveryThread) {
  const auto enters = [] {
    enter_thread();
    enter_thread();
  };
  EXPECT_EQ(in_new_thread(enters), Devices{}) << "nobody has chosen one";
  EXPECT_EQ(in_new_thread([] { choose_device(3); }), Devices{3});
  EXPECT_EQ(in_new_thread(enters), Devices{3}) << "once, and never device 0";
  EXPECT_EQ(in_new_thread([&] {
              choose_device(1);
              enters();
            }),
            Devices{1})
      << "a thread's own choice stays";
}

// cudaSetDevice makes a context, so the way back must not lead to device 0 either.
TEST(ThreadDevice, IsNotLeftForDeviceZeroByAScope) {
  choose_device(3);
  EXPECT_EQ(in_new_thread([] { const CurrentDevice current(3); }), Devices{3});
  EXPECT_EQ(in_new_thread([] { const CurrentDevice current(2); }), (Devices{3, 2, 3}));
}

}  // namespace
}  // namespace tessera::cuda
