// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/schedule.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// Of one chunk, without the weight halves: "F0 F1 B0", as the papers write it.
std::string short_form(const Schedule& schedule) {
  std::string text;
  for (const Action& action : schedule)
    if (action.op != Op::backward_weight)
      text += (text.empty() ? "" : " ") + std::string(action.op == Op::forward ? "F" : "B") +
              std::to_string(action.micro);
  return text;
}

TEST(Schedule, PrintsAndParsesBack) {
  const Schedule schedule = {{Op::forward, 0, 0},
                             {Op::forward, 1, 12},
                             {Op::backward_input, 1, 12},
                             {Op::backward_weight, 1, 12}};
  EXPECT_EQ(to_string(schedule), "F0.0 F1.12 B1.12 W1.12");
  EXPECT_EQ(parse_schedule(" F0.0\tF1.12\n B1.12 W1.12\r\n"), schedule);
  EXPECT_TRUE(parse_schedule(" \n").empty());
  for (const Schedule& stage : one_f_one_b(3, 7).ranks)
    EXPECT_EQ(parse_schedule(to_string(stage)), stage);
}

TEST(Schedule, NamesTheWordThatIsNoAction) {
  for (const char* word : {"X0.1", "F", "F0", "F0.", "F.1", "F0.1x", "F-1.0", "F0.-1", "f0.1",
                           "F0,1", "F99999999999.0"})
    EXPECT_THAT(error_of([&] { parse_schedule(std::string("F0.0 ") + word + " B0.0"); }),
                AllOf(StartsWith("usage"), HasSubstr("'" + std::string(word) + "'")));
}

TEST(OneFOneB, IsThePublishedOrder) {
  const Plan plan = one_f_one_b(4, 8);
  EXPECT_EQ(short_form(plan.ranks[0]), "F0 F1 F2 F3 B0 F4 B1 F5 B2 F6 B3 F7 B4 B5 B6 B7");
  EXPECT_EQ(short_form(plan.ranks[2]), "F0 F1 B0 F2 B1 F3 B2 F4 B3 F5 B4 F6 B5 F7 B6 B7");
  EXPECT_EQ(short_form(plan.ranks[3]), "F0 B0 F1 B1 F2 B2 F3 B3 F4 B4 F5 B5 F6 B6 F7 B7");
  EXPECT_EQ(plan.stage_of_chunk, (std::vector<std::vector<int>>{{0}, {1}, {2}, {3}}));
}

TEST(OneFOneB, OfOneStageIsGradientAccumulation) {
  EXPECT_EQ(to_string(one_f_one_b(1, 2).ranks[0]), "F0.0 B0.0 W0.0 F0.1 B0.1 W0.1");
}

TEST(OneFOneB, IsSoundAndHoldsNoMoreMicrobatchesThanStagesAhead) {
  for (int stages = 1; stages <= 6; ++stages)
    for (int micros = 1; micros <= 9; ++micros) {
      const Plan plan = one_f_one_b(stages, micros);
      check_plan(plan);
      ASSERT_EQ(static_cast<int>(plan.ranks.size()), stages);
      for (int stage = 0; stage < stages; ++stage) {
        int live = 0, peak = 0;
        for (const Action& action : plan.ranks[static_cast<size_t>(stage)]) {
          live += action.op == Op::forward ? 1 : action.op == Op::backward_weight ? -1 : 0;
          peak = std::max(peak, live);
        }
        EXPECT_EQ(live, 0);
        EXPECT_EQ(peak, std::min(stages - stage, micros));
      }
    }
}

std::string fault_of(const std::string& schedule) {
  const Plan plan{.num_micro = 2, .ranks = {parse_schedule(schedule)}, .stage_of_chunk = {{0}}};
  return error_of([&] { check_plan(plan); });
}

TEST(CheckPlan, RefusesEveryKindOfBrokenPlan) {
  EXPECT_EQ(fault_of("F0.0 F0.1 B0.1 B0.0 W0.0 W0.1"), "no error") << "B may come in any order";
  EXPECT_THAT(fault_of("F0.0 B0.0 W0.0"), HasSubstr("does not finish"));
  EXPECT_THAT(fault_of("F0.0 F0.1 B0.0 W0.0 B0.1"), HasSubstr("does not finish"));
  EXPECT_THAT(fault_of("F0.0 F0.0 B0.0 W0.0 F0.1 B0.1 W0.1"),
              AllOf(StartsWith("internal"), HasSubstr("rank 0, F0.0 comes twice")));
  EXPECT_THAT(fault_of("F0.0 B0.0 W0.0 W0.0 F0.1 B0.1 W0.1"), HasSubstr("W0.0 comes twice"));
  EXPECT_THAT(fault_of("B0.0 F0.0 W0.0 F0.1 B0.1 W0.1"), HasSubstr("B0.0 comes"));
  EXPECT_THAT(fault_of("F0.0 W0.0 B0.0 F0.1 B0.1 W0.1"), HasSubstr("before its time"));
  EXPECT_THAT(fault_of("F0.0 F0.1 B0.0 B0.1 W0.1 W0.0"),
              HasSubstr("W0.1 breaks the increasing microbatch order"));
  EXPECT_THAT(fault_of("F0.0 F0.1 F0.2"), HasSubstr("F0.2 is outside"));
  EXPECT_THAT(fault_of("F1.0"), HasSubstr("F1.0 is outside"));
  EXPECT_THAT(error_of([] { check_plan({.num_micro = 1, .ranks = {{}}, .stage_of_chunk = {}}); }),
              HasSubstr("without placement"));
}

}  // namespace
}  // namespace tessera::test
