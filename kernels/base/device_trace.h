// SPDX-License-Identifier: Apache-2.0
// When a GPU did what: Events with times around the work in its queues, made before they are needed
// and read only when all is over, so that recording waits for nothing. The device has a clock of
// its own; two moments at which the host knew it, one at the start and one at the end, lay its
// times on trace::now_ns(). Their error is half of what the host needs to see one Event
// (microseconds); CUDA's times themselves are 32-bit milliseconds: good to a microsecond within 16
// s of the start. Kept inside this folder. Not thread-safe: trace.cc sees to it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/trace.h"

namespace tessera::trace {

class DeviceTrace {
 public:
  struct Work {
    std::string name;
    std::string_view category;
    Stream::Queue queue;
    tessera::Event begin, end;  // marks of this class
  };

  explicit DeviceTrace(Device device) : device_(device) {}
  Device device() const { return device_; }
  bool sees(const Stream& stream) const {
    return stream.queue() != nullptr && stream.device() == device_;
  }

  // Both wait until the device has done what the calling thread gave it.
  void start();
  void stop(std::vector<Event>& events);  // adds what was done since, in the order of add()

  tessera::Event mark(Stream& stream);  // the point that it has come to. REQUIRES sees(stream)
  void add(Work work) { works_.push_back(std::move(work)); }

 private:
  struct Moment {
    tessera::Event event;
    int64_t host_ns;
  };
  Moment now();
  tessera::Event take();

  Device device_;
  std::optional<Stream> stream_;  // of the thread that started
  std::optional<Moment> first_;
  std::vector<Work> works_;
  std::vector<tessera::Event> idle_;  // with times
};

}  // namespace tessera::trace
