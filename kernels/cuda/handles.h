// SPDX-License-Identifier: Apache-2.0
// CUDA's results as Errors, and the current device as a scope. Kept inside kernels/cuda.
#pragma once

#include <utility>

#include <cuda_runtime_api.h>

#include "kernels/base/check.h"

namespace tessera {

// Throws Error{peer} (exit code 7: the device failed) naming what was done and CUDA's words for
// the result; capacity where the device's memory ran out.
void check(cudaError_t result, const char* what, Where where = Where());

namespace cuda {

// The calling thread's current device, for as long as this lives.
class CurrentDevice {
 public:
  explicit CurrentDevice(int device);
  ~CurrentDevice();
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;

 private:
  int before_ = 0;
  bool changed_ = false;
};

// Owns one handle of a C library: Handle<cublasLtHandle_t, cublasLtDestroy>.
template <typename T, auto Destroy>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T handle) : handle_(handle) {}
  Handle(Handle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  // What it returns is of no use to anybody by now.
  ~Handle() {
    if (handle_ != nullptr) (void)Destroy(handle_);
  }
  T get() const { return handle_; }
  T* out() { return &handle_; }  // for the call that makes it; REQUIRES that it owns nothing

 private:
  T handle_ = nullptr;
};

}  // namespace cuda
}  // namespace tessera
