// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/trace.h"

#include <thread>

#include <gtest/gtest.h>

namespace tessera::trace {
namespace {

TEST(Trace, RecordsNothingAndMakesNoNameWhileItIsOff) {
  bool named = false;
  {
    const Range range("step", [&] {
      named = true;
      return "off";
    });
  }
  EXPECT_FALSE(named);
  start();
  EXPECT_TRUE(stop().empty());
}

TEST(Trace, RecordsWhatEndsWhileItIsOn) {
  start();
  {
    const Range outer("step", [] { return "outer"; });
    const Range inner("comm", [] { return "inner"; });
  }
  auto* cut = new Range("step", [] { return "cut off"; });
  const std::vector<Event> events = stop();
  delete cut;
  ASSERT_EQ(events.size(), 2U);
  const Event &inner = events[0], &outer = events[1];
  EXPECT_EQ(inner.name, "inner");
  EXPECT_EQ(inner.category, "comm");
  EXPECT_EQ(outer.name, "outer");
  EXPECT_LE(outer.begin_ns, inner.begin_ns);
  EXPECT_LE(inner.begin_ns, inner.end_ns);
  EXPECT_LE(inner.end_ns, outer.end_ns);
  EXPECT_EQ(inner.thread, outer.thread);
}

TEST(Trace, TellsThreadsApart) {
  start();
  const auto work = [] { const Range range("compute", [] { return "work"; }); };
  std::thread other(work);
  work();
  other.join();
  const std::vector<Event> events = stop();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_NE(events[0].thread, events[1].thread);
}

}  // namespace
}  // namespace tessera::trace
