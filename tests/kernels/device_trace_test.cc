// SPDX-License-Identifier: Apache-2.0
// What a GPU did when, against the stand-in, which does its work at once but has a clock of its
// own, a quarter faster than the host's, and is as strict about marks as CUDA.
#include "kernels/base/device_trace.h"

#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include "kernels/copy.h"
#include "kernels/transfer.h"
#include "tests/support/stand_in.h"

namespace tessera::test {
namespace {

using trace::Range;

constexpr int64_t kSlack = 2'000'000;  // nanoseconds that the clocks may be apart
constexpr std::chrono::nanoseconds kPause{20'000'000};

void pause() {
  std::this_thread::sleep_for(kPause);
}

// "name" on the device's or the host's lanes. REQUIRES that there is exactly one.
trace::Event one(const std::vector<trace::Event>& events, const std::string& name, bool device) {
  std::vector<trace::Event> found;
  for (const trace::Event& event : events)
    if (event.name == name && event.queue.has_value() == device) found.push_back(event);
  EXPECT_EQ(found.size(), 1U) << name;
  return found.empty() ? trace::Event{} : found.front();
}

TEST(DeviceTrace, ShowsWhatAStreamDidBesideWhatTheHostDid) {
  Stream stream(kStandIn);
  const Tensor x(kStandIn, DType::f32, {1000});
  trace::start(kStandIn);
  pause();
  {
    const Range outer(stream, "step", [] { return "outer"; });
    pause();
    {
      const Range inner(stream, "compute", [] { return "inner"; });
      fill(stream, 1, x);
      pause();
    }
    const Range host("data", [] { return "host only"; });
  }
  pause();
  const std::vector<trace::Event> events = trace::stop();
  ASSERT_EQ(events.size(), 5U);
  const trace::Event outer = one(events, "outer", true), inner = one(events, "inner", true);
  EXPECT_EQ(outer.queue, Stream::Queue::of_thread);
  EXPECT_EQ(outer.category, "step");
  EXPECT_LE(outer.begin_ns, inner.begin_ns);
  EXPECT_LT(inner.begin_ns, inner.end_ns);
  EXPECT_LE(inner.end_ns, outer.end_ns);
  // Within what the host did, however busy the machine is; off by 5 ms or more without the rate of
  // the clock.
  for (const auto& [name, pauses] : {std::pair{"outer", 2}, {"inner", 1}}) {
    const trace::Event device = one(events, name, true), host = one(events, name, false);
    EXPECT_GE(device.begin_ns, host.begin_ns - kSlack) << name;
    EXPECT_LE(device.end_ns, host.end_ns + kSlack) << name;
    EXPECT_GE(device.end_ns - device.begin_ns, pauses * kPause.count() - kSlack) << name;
  }
}

TEST(DeviceTrace, TellsQueuesApart) {
  Stream stream(kStandIn), comm(kStandIn, Stream::Queue::communication);
  trace::start(kStandIn);
  {
    Stream side(kStandIn, Stream::Queue::copies);  // gone before the trace ends
    const Range range(side, "copy", [] { return "aside"; });
    const Tensor x = uploaded(side, std::vector<float>(100, 1.0F));
  }
  {
    const Range range(comm, "comm", [] { return "sum"; });
  }
  {
    const Range range(stream, "compute", [] { return "norm"; });
  }
  const std::vector<trace::Event> events = trace::stop();
  EXPECT_EQ(one(events, "aside", true).queue, Stream::Queue::copies);
  EXPECT_EQ(one(events, "copy to the device", true).queue, Stream::Queue::copies);
  EXPECT_EQ(one(events, "sum", true).queue, Stream::Queue::communication);
  EXPECT_EQ(one(events, "norm", true).queue, Stream::Queue::of_thread);
}

TEST(DeviceTrace, RecordsNoTimesWhileItIsOffAndMakesMarksAhead) {
  Stream stream(kStandIn), host(Device{});
  const auto work = [&](Stream& where) {
    for (int i = 0; i < 100; ++i) const Range range(where, "compute", [] { return "work"; });
  };
  trace::start(kStandIn);
  trace::stop();
  StandInCounts before = stand_in_counts();
  work(stream);
  EXPECT_EQ(stand_in_counts().timed_records, before.timed_records) << "nobody records";

  trace::start(Device{});
  work(stream);
  EXPECT_EQ(trace::stop().size(), 100U) << "the host's alone";
  EXPECT_EQ(stand_in_counts().timed_records, before.timed_records);

  for (int trace = 0; trace < 50; ++trace) {  // their marks come back
    trace::start(kStandIn);
    before = stand_in_counts();
    work(stream);
    const StandInCounts after = stand_in_counts();
    EXPECT_EQ(after.timed_records - before.timed_records, 200);
    EXPECT_EQ(after.timed_marks, before.timed_marks);
    EXPECT_EQ(after.mark_waits + after.queue_waits, before.mark_waits + before.queue_waits);
    EXPECT_EQ(trace::stop().size(), 200U);
  }
  trace::start(kStandIn);
  before = stand_in_counts();
  work(host);
  EXPECT_EQ(stand_in_counts().timed_records, before.timed_records) << "it has no device";
  EXPECT_EQ(trace::stop().size(), 100U);
}

TEST(DeviceTrace, ALongTraceTakesAsManyMarksAsItNeeds) {
  constexpr int kMany = 5000;
  Stream stream(kStandIn);
  trace::start(kStandIn);
  for (int i = 0; i < kMany; ++i) const Range range(stream, "compute", [] { return "work"; });
  const std::vector<trace::Event> events = trace::stop();
  ASSERT_EQ(events.size(), size_t{2 * kMany});
  int64_t last = 0;
  for (const trace::Event& event : events) {
    if (!event.queue) continue;
    EXPECT_LE(last, event.begin_ns) << "in the order of the queue";
    EXPECT_LE(event.begin_ns, event.end_ns);
    last = event.end_ns;
  }
}

TEST(DeviceTrace, AnEventWithoutATimeHasNone) {
  Stream stream(kStandIn);
  Event before(kStandIn, Timing::on), after(kStandIn), never(kStandIn, Timing::on);
  before.record(stream);
  after.record(stream);
  EXPECT_THROW(after.milliseconds_since(before), Error);
  EXPECT_THROW(never.milliseconds_since(before), Error);
}

}  // namespace
}  // namespace tessera::test
