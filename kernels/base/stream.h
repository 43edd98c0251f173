// SPDX-License-Identifier: Apache-2.0
// A Stream is an ordered queue of work on one Device; every kernel takes one first. A CPU stream
// runs each call at once on the calling thread (DESIGN decision: stack traces and debuggers work).
// Not thread-safe: one thread drives one Stream.
#pragma once

#include <memory>

#include "kernels/base/device.h"

namespace tessera {

struct Backend;  // kernels/backend.h: the table of kernels

class Stream {
 public:
  explicit Stream(Device device);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  Device device() const { return device_; }
  const Backend& backend() const { return *backend_; }
  void synchronize();  // returns when all work queued so far is done

  struct Impl;  // the native queue; null on the host
  Impl* impl() const { return impl_.get(); }

 private:
  Device device_;
  const Backend* backend_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
