// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/device_trace.h"

#include <cmath>
#include <limits>
#include <utility>

namespace tessera::trace {
namespace {
constexpr size_t kReserved = 4096;  // Events made ahead: a few steps of a dozen layers
constexpr int kTries = 8;
constexpr double kNanosecondsOfOne = 1e6;  // of a millisecond
}  // namespace

tessera::Event DeviceTrace::take() {
  if (idle_.empty()) return tessera::Event(device_, Timing::on);
  tessera::Event event = std::move(idle_.back());
  idle_.pop_back();
  return event;
}

// The quickest of several tries, as in parallel/clock_offset.h: it was in the middle, or nearly so.
DeviceTrace::Moment DeviceTrace::now() {
  stream_->synchronize();
  std::optional<Moment> best;
  int64_t quickest = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < kTries; ++i) {
    tessera::Event event = take();
    const int64_t before = now_ns();
    event.record(*stream_);
    event.synchronize();
    const int64_t after = now_ns();
    if (after - before < quickest) {
      quickest = after - before;
      if (best) idle_.push_back(std::move(best->event));
      best = Moment{std::move(event), before + quickest / 2};
    } else {
      idle_.push_back(std::move(event));
    }
  }
  return *best;
}

void DeviceTrace::start() {
  works_.clear();
  while (idle_.size() < kReserved) idle_.push_back(tessera::Event(device_, Timing::on));
  stream_.emplace(device_);
  first_ = now();
}

tessera::Event DeviceTrace::mark(Stream& stream) {
  tessera::Event event = take();
  event.record(stream);
  return event;
}

void DeviceTrace::stop(std::vector<Event>& events) {
  const Moment last = now();
  const double elapsed = last.event.milliseconds_since(first_->event);
  const double scale = elapsed > 0 ? static_cast<double>(last.host_ns - first_->host_ns) / elapsed
                                   : kNanosecondsOfOne;
  const auto host_ns = [&](const tessera::Event& event) {
    event.synchronize();  // other queues than this thread's may still be at work
    return first_->host_ns + std::llround(event.milliseconds_since(first_->event) * scale);
  };
  for (Work& work : works_) {
    const int64_t begin_ns = host_ns(work.begin), end_ns = host_ns(work.end);
    events.push_back({.name = std::move(work.name),
                      .category = work.category,
                      .queue = work.queue,
                      .begin_ns = begin_ns,
                      .end_ns = end_ns});
    idle_.push_back(std::move(work.begin));
    idle_.push_back(std::move(work.end));
  }
  works_.clear();
  idle_.push_back(std::exchange(first_, std::nullopt)->event);
  idle_.push_back(last.event);
  stream_.reset();
}

}  // namespace tessera::trace
