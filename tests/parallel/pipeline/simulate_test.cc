// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/simulate.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/communicate.h"
#include "parallel/pipeline/generators.h"
#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A backward in one piece, twice as long as a forward: how GPipe, 1F1B and interleaving are priced.
constexpr StageTimes kFused = {.forward = 1, .backward_input = 2, .backward_weight = 0};

TEST(Simulate, PutsEveryActionOnTheClock) {
  const Plan plan = parse_plan(
      "microbatches 1\n"
      "rank 0 stages 0: F0.0 B0.0 W0.0\n"
      "rank 1 stages 1: F0.0 B0.0 W0.0");
  const Simulation simulation =
      simulate(plan, {{.forward = 2, .backward_input = 3, .backward_weight = 4, .message = 0.5},
                      {.forward = 5, .backward_input = 6, .backward_weight = 7, .message = 0.25}});
  std::string text;
  for (const TimedAction& timed : simulation.actions) {
    std::ostringstream line;
    line << timed.rank << ":" << to_string(timed.action) << "@" << timed.start << "-" << timed.end;
    text += (text.empty() ? "" : " ") + line.str();
  }
  EXPECT_EQ(text,
            "0:F0.0@0-2 1:F0.0@2.5-7.5 1:B0.0@7.5-13.5 0:B0.0@13.75-16.75 1:W0.0@13.5-20.5 "
            "0:W0.0@16.75-20.75");
  EXPECT_DOUBLE_EQ(simulation.makespan, 20.75);
  EXPECT_DOUBLE_EQ(simulation.longest_span, 20.75);
  EXPECT_THAT(simulation.busy, ElementsAre(9, 18));
  EXPECT_DOUBLE_EQ(simulation.bubble(1), 1 - 18 / 20.75);
  EXPECT_DOUBLE_EQ(simulation.bubble(), 1 - 27 / 41.5);
}

TEST(Simulate, NamesWhoWaits) {
  const Plan plan = parse_plan(
      "microbatches 1\n"
      "rank 0 stages 0: B0.0 F0.0 W0.0\n"
      "rank 1 stages 1: F0.0 B0.0 W0.0");
  EXPECT_THAT(error_of([&] { simulate(plan); }),
              HasSubstr("stands still: rank 0 waits before B0.0"));
  EXPECT_THAT(error_of([&] { simulate(plan, std::vector<StageTimes>(3)); }),
              HasSubstr("times for 3 stages of 2"));
}

TEST(Simulate, FindsTheClosedForms) {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (const int groups : {1, 2, 5}) {
      const int micros = groups * ranks;
      const double full = (micros + ranks - 1) * 3.0;
      EXPECT_DOUBLE_EQ(simulate(gpipe(ranks, micros), kFused).makespan, full);
      EXPECT_DOUBLE_EQ(simulate(one_f_one_b(ranks, micros), kFused).makespan, full);
      EXPECT_DOUBLE_EQ(simulate(one_f_one_b(ranks, micros)).bubble(),
                       (ranks - 1) * 2.0 / (3 * micros + (ranks - 1) * 2))
          << "B sent before W runs";
      for (const int chunks : {2, 4}) {
        const StageTimes chunk = {
            .forward = 1.0 / chunks, .backward_input = 2.0 / chunks, .backward_weight = 0};
        EXPECT_DOUBLE_EQ(simulate(interleaved(ranks, chunks, micros), chunk).makespan,
                         3 * micros + 3.0 * (ranks - 1) / chunks);
      }
    }
}

// (ranks - 1)(F + B - W) and (ranks - 1)(F + B - 2 W), Zero Bubble's table 2; ZB-V: none.
TEST(Simulate, FindsTheBubblesOfZeroBubble) {
  for (int ranks = 1; ranks <= 8; ++ranks)
    for (const int micros : {2 * ranks, 3 * ranks + 1}) {
      EXPECT_DOUBLE_EQ(simulate(zb_h1(ranks, micros)).makespan, 3 * micros + ranks - 1);
      EXPECT_DOUBLE_EQ(simulate(zb_h2(ranks, micros)).longest_span, 3 * micros);
      EXPECT_DOUBLE_EQ(simulate(zb_v(ranks, micros)).longest_span, 6 * micros);
    }
}

// Published: (ranks - 1)(F&B + B - 3 W) with B of both halves, that is 2 (ranks - 1) here. A pair
// in sequence hands on its F before its B runs and a B before its W, which leaves half of that.
TEST(Simulate, FindsLessThanTheBubbleOfDualPipeVWherePairsRunInSequence) {
  for (const int ranks : {2, 4, 6})
    for (const int micros : {2 * ranks, 3 * ranks})
      EXPECT_DOUBLE_EQ(simulate(dual_pipe_v(ranks, micros)).makespan, 6 * micros + ranks - 1);
}

TEST(Simulate, CountsWhatARankRemembers) {
  EXPECT_THAT(simulate(one_f_one_b(4, 8)).peak_live, ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(simulate(gpipe(3, 8)).peak_live, ElementsAre(8, 8, 8));
  EXPECT_THAT(simulate(interleaved(4, 2, 8)).peak_live, ElementsAre(11, 9, 7, 5));
  EXPECT_THAT(simulate(zb_h1(4, 8)).peak_live, ElementsAre(4, 4, 4, 4));
  EXPECT_THAT(simulate(zb_h2(4, 8)).peak_live, ElementsAre(7, 7, 7, 7));
  EXPECT_THAT(simulate(zb_v(4, 8)).peak_live, ElementsAre(8, 8, 8, 8));
  EXPECT_THAT(simulate(forward_plan({{0}, {1}}, 4)).peak_live, ElementsAre(0, 0));
}

TEST(Simulate, TimesAPlanWithMessagesLikeOneWithout) {
  const StageTimes times = {
      .forward = 2, .backward_input = 3, .backward_weight = 1, .message = 0.5};
  for (const ScheduleKind& kind : schedule_kinds()) {
    const Plan plan = make_plan(kind.name, 4, 0, 8);
    EXPECT_DOUBLE_EQ(simulate(with_messages(plan), times).makespan, simulate(plan, times).makespan)
        << kind.name;
  }
}

TEST(Simulate, SeesWholeWeights) {
  const Plan plan = interleaved(2, 2, 4);
  EXPECT_THAT(simulate(plan).peak_gathered, ElementsAre(0, 0));
  EXPECT_THAT(simulate(with_weight_gathers(plan, 1)).peak_gathered, ElementsAre(1, 1));
  EXPECT_THAT(simulate(with_weight_gathers(plan, 3)).peak_gathered, ElementsAre(2, 2));
  StageTimes slow;
  slow.gather_weights = 1;
  EXPECT_GT(simulate(with_weight_gathers(plan, 1), slow).makespan,
            simulate(with_weight_gathers(plan, 2), slow).makespan);
}

struct Row {
  std::string model;
  int ranks, micros, chunks;
  StageTimes times;
  double one_f_one_b, interleaved, zb_h1, zb_h2;  // printed bubble rates

  double rate(double time) const {
    return 1 - micros * (times.forward + times.backward_input + times.backward_weight) / time;
  }
};

std::vector<Row> published() {
  std::ifstream in(std::string(TESSERA_SOURCE_DIR) +
                   "/tests/parallel/pipeline/published_bubbles.csv");
  std::vector<Row> rows;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#') || line.starts_with("model")) continue;
    std::replace(line.begin(), line.end(), ',', ' ');
    Row r;
    std::istringstream(line) >> r.model >> r.ranks >> r.micros >> r.times.forward >>
        r.times.backward_input >> r.times.backward_weight >> r.times.message >> r.chunks >>
        r.one_f_one_b >> r.interleaved >> r.zb_h1 >> r.zb_h2;
    rows.push_back(r);
  }
  return rows;
}

// All four columns come from simulated plans. 1F1B and interleaving run B and W in one piece; the
// authors count one message a rank less in interleaving, so ranks * message is taken off; ZB-H2 is
// measured from a rank's first action to its last, as theirs, because each rank steps by itself.
TEST(Simulate, ReproducesThePrintedBubbleRatesToFourDigits) {
  const std::vector<Row> rows = published();
  ASSERT_EQ(rows.size(), 6u);
  for (const Row& row : rows) {
    SCOPED_TRACE(row.model + " " + std::to_string(row.micros));
    StageTimes fused = row.times;
    fused.backward_input += std::exchange(fused.backward_weight, 0);
    EXPECT_NEAR(row.rate(simulate(one_f_one_b(row.ranks, row.micros), fused).makespan),
                row.one_f_one_b, 0.00005);
    StageTimes chunk = fused;
    chunk.forward /= row.chunks;
    chunk.backward_input /= row.chunks;
    EXPECT_NEAR(row.rate(simulate(interleaved(row.ranks, row.chunks, row.micros), chunk).makespan -
                         row.ranks * chunk.message),
                row.interleaved, 0.00005);
    EXPECT_NEAR(row.rate(simulate(zb_h1(row.ranks, row.micros), row.times).makespan), row.zb_h1,
                0.00005);
    EXPECT_NEAR(row.rate(simulate(zb_h2(row.ranks, row.micros), row.times).longest_span), row.zb_h2,
                0.00005);
  }
}

}  // namespace
}  // namespace tessera::test
