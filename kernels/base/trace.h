// SPDX-License-Identifier: Apache-2.0
// Named scopes on a clock: what a rank did when, for Chrome's trace format (Perfetto reads it), and
// for a profiler that annotates its own. A Range given a Stream of a GPU also says when the GPU did
// what was queued there meanwhile (device_trace.h), on the same clock. Without an audience a Range
// costs one relaxed load. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/stream.h"

namespace tessera::trace {

struct Event {
  std::string name;
  std::string_view category;  // "compute", "comm", "copy", "step"; static storage
  // Of the device that did it; none: the host did, on `thread`, in the order in which these showed
  // up.
  std::optional<Stream::Queue> queue{};
  int thread = 0;
  int64_t begin_ns = 0;  // of now_ns()
  int64_t end_ns = 0;
};

int64_t now_ns();  // a steady clock: common to the processes of one machine

// On a GPU start() and stop() wait until it has done what it was given; both are called by the
// thread that computes. Its work on other devices is not recorded.
void start(Device device = {});
std::vector<Event> stop();  // what began and ended since start()

// Hears of Ranges as they begin and end, in pairs that nest, on their threads.
class Listener {
 public:
  virtual void begin(const std::string& name, std::string_view category) = 0;
  virtual void end() = 0;

 protected:
  ~Listener() = default;
};
// From now on; null: nobody. A listener must stay until every Range that it heard begin has ended.
void listen(Listener* listener);

// Who wants to know of Ranges: some of these.
enum Audience : unsigned { kRecorder = 1, kListener = 2 };
extern std::atomic<unsigned> audience;
inline bool recording() {
  return (audience.load(std::memory_order_relaxed) & kRecorder) != 0;
}

// From construction to destruction, both on one thread.
class Range {
 public:
  // The name is made only for an audience: `make_name` returns anything a std::string is made of.
  template <typename MakeName>
  Range(std::string_view category, MakeName&& make_name) {
    if (audience.load(std::memory_order_relaxed) != 0)
      begin(nullptr, category, std::string(make_name()));
  }
  // Of the stream's device, too, where that has a clock of its own. The stream must stay.
  template <typename MakeName>
  Range(Stream& stream, std::string_view category, MakeName&& make_name) {
    if (audience.load(std::memory_order_relaxed) != 0)
      begin(&stream, category, std::string(make_name()));
  }
  ~Range() {
    if (open_ != nullptr) end();
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  struct Open;
  void begin(Stream* stream, std::string_view category, std::string name);
  void end() noexcept;
  Open* open_ = nullptr;  // null: nobody wanted to know when it began
};

}  // namespace tessera::trace
