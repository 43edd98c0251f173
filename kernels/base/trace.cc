// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/trace.h"

#include <chrono>
#include <mutex>
#include <utility>

namespace tessera::trace {
namespace {

struct Log {
  std::mutex mutex;
  std::vector<Event> events;
};

Log& log() {
  static Log only;
  return only;
}

int this_thread() {
  static std::atomic<int> threads{0};
  thread_local const int mine = threads++;
  return mine;
}

}  // namespace

std::atomic<bool> recording{false};

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void start() {
  const std::lock_guard lock(log().mutex);
  log().events.clear();
  recording = true;
}

std::vector<Event> stop() {
  recording = false;
  const std::lock_guard lock(log().mutex);
  return std::exchange(log().events, {});
}

void Range::begin(std::string_view category, std::string name) {
  category_ = category;
  name_ = std::move(name);
  begin_ns_ = now_ns();
}

void Range::end() {
  const int64_t end_ns = now_ns();
  const std::lock_guard lock(log().mutex);
  if (recording) log().events.push_back({name_, category_, this_thread(), begin_ns_, end_ns});
}

}  // namespace tessera::trace
