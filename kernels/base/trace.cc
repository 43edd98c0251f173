// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/trace.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "kernels/base/check.h"
#include "kernels/base/device_trace.h"

namespace tessera::trace {
namespace {

struct Log {
  std::mutex mutex;
  int64_t session = 0;  // the number of start()
  std::vector<Event> events;
  std::unique_ptr<DeviceTrace> device;  // null: no trace of a GPU yet
  bool on_device = false;               // it is recording
  std::atomic<Listener*> listener{nullptr};
};

// Never destroyed: other static objects may have Ranges, and a GPU's Events outlive its driver.
Log& log() {
  static Log& only = *new Log;
  return only;
}

int this_thread() {
  static std::atomic<int> threads{0};
  thread_local const int mine = threads++;
  return mine;
}

// REQUIRES the lock.
bool is_seen(const Stream* stream) {
  return stream != nullptr && log().on_device && log().device->sees(*stream);
}

}  // namespace

std::atomic<unsigned> audience{0};

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// What no Range touches is waited for without the lock.
void start(Device device) {
  audience &= ~unsigned{kRecorder};
  std::unique_ptr<DeviceTrace>& of_device = log().device;
  const bool on_device = device.kind == Device::Kind::cuda;
  if (on_device && (!of_device || of_device->device() != device))
    of_device = std::make_unique<DeviceTrace>(device);
  if (on_device) of_device->start();
  const std::lock_guard lock(log().mutex);
  log().events.clear();
  log().on_device = on_device;
  ++log().session;
  audience |= kRecorder;
}

std::vector<Event> stop() {
  std::vector<Event> events;
  bool on_device = false;
  {
    const std::lock_guard lock(log().mutex);
    audience &= ~unsigned{kRecorder};
    on_device = std::exchange(log().on_device, false);
    events = std::exchange(log().events, {});
  }
  if (on_device) log().device->stop(events);
  return events;
}

void listen(Listener* listener) {
  log().listener = listener;
  if (listener != nullptr)
    audience |= kListener;
  else
    audience &= ~unsigned{kListener};
}

struct Range::Open {
  std::string name;
  std::string_view category;
  Listener* listener = nullptr;  // null: none was there
  int64_t session = 0;           // 0: not recorded
  int64_t begin_ns = 0;
  Stream* stream = nullptr;
  std::optional<tessera::Event> device_begin;
};

void Range::begin(Stream* stream, std::string_view category, std::string name) {
  auto range = std::make_unique<Open>();
  range->name = std::move(name);
  range->category = category;
  if (recording()) {
    range->begin_ns = now_ns();
    const std::lock_guard lock(log().mutex);
    range->session = recording() ? log().session : 0;
    range->stream = stream;
    if (is_seen(stream)) range->device_begin = log().device->mark(*stream);
  }
  range->listener = log().listener;
  if (range->listener != nullptr) range->listener->begin(range->name, category);
  open_ = range.release();
}

void Range::end() noexcept {
  const std::unique_ptr<Open> range(open_);
  if (range->listener != nullptr) range->listener->end();
  if (range->session == 0) return;
  const std::lock_guard lock(log().mutex);
  if (!recording() || range->session != log().session) return;
  if (range->device_begin) {
    try {
      log().device->add({range->name, range->category, range->stream->purpose(),
                         std::move(*range->device_begin), log().device->mark(*range->stream)});
    } catch (const Error&) {
      // The device failed, which whoever uses it next is told.
    }
  }
  log().events.push_back({.name = std::move(range->name),
                          .category = range->category,
                          .thread = this_thread(),
                          .begin_ns = range->begin_ns,
                          .end_ns = now_ns()});
}

}  // namespace tessera::trace
