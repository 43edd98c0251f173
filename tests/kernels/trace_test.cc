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

// Writes down what it hears: "+name" and "-".
struct Scribe : Listener {
  std::vector<std::string> heard;
  void begin(const std::string& name, std::string_view category) override {
    heard.push_back("+" + name + " " + std::string(category));
  }
  void end() override { heard.emplace_back("-"); }
};

TEST(Trace, AListenerHearsOfRangesInPairsThatNest) {
  Scribe scribe;
  {
    const Range before("step", [] { return "before"; });
    listen(&scribe);
    const Range outer("step", [] { return "outer"; });
    {
      const Range inner("comm", [] { return "inner"; });
    }
    {
      const Range another("compute", [] { return "another"; });
    }
  }
  auto* last = new Range("step", [] { return "last"; });
  listen(nullptr);
  delete last;
  {
    const Range after("step", [] { return "after"; });
  }
  const std::vector<std::string> expected = {
      "+outer step", "+inner comm", "-", "+another compute", "-", "-", "+last step", "-"};
  EXPECT_EQ(scribe.heard, expected);
}

TEST(Trace, AListenerAndARecorderDoNotDisturbEachOther) {
  Scribe scribe;
  listen(&scribe);
  start();
  {
    const Range both("step", [] { return "both"; });
  }
  listen(nullptr);
  {
    const Range one("step", [] { return "one"; });
  }
  EXPECT_EQ(stop().size(), 2U);
  EXPECT_EQ(scribe.heard.size(), 2U);
  EXPECT_FALSE(recording());
}

TEST(Trace, LeavesOutWhatBeganInAnotherTrace) {
  start();
  auto* old = new Range("step", [] { return "old"; });
  stop();
  start();
  delete old;
  EXPECT_TRUE(stop().empty());
}

}  // namespace
}  // namespace tessera::trace
