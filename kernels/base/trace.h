// SPDX-License-Identifier: Apache-2.0
// Named scopes on a clock: what a rank did when, for Chrome's trace format (Perfetto reads it).
// Off, a Range costs one relaxed load. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::trace {

struct Event {
  std::string name;
  std::string_view category;  // "compute", "comm", "step"; static storage
  int thread = 0;             // in the order in which threads showed up
  int64_t begin_ns = 0;       // of now_ns()
  int64_t end_ns = 0;
};

int64_t now_ns();  // a steady clock: common to the processes of one machine
void start();
std::vector<Event> stop();  // what ended since start()

extern std::atomic<bool> recording;

// From construction to destruction.
class Range {
 public:
  // The name is made only while recording: `make_name` returns anything a std::string is made of.
  template <typename MakeName>
  Range(std::string_view category, MakeName&& make_name) {
    if (recording.load(std::memory_order_relaxed)) begin(category, std::string(make_name()));
  }
  ~Range() {
    if (begin_ns_ != 0) end();
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  void begin(std::string_view category, std::string name);
  void end();
  std::string name_;
  std::string_view category_;
  int64_t begin_ns_ = 0;
};

}  // namespace tessera::trace
