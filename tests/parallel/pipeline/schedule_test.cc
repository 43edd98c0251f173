// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/communicate.h"
#include "parallel/pipeline/generators.h"
#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Schedule, PrintsAndParsesBack) {
  const Schedule schedule = {{Op::gather_weights, 0, 0},   {Op::forward, 0, 0},
                             {Op::send_forward, 0, 0},     {Op::recv_forward, 1, 12},
                             {Op::forward, 1, 12},         {Op::recv_backward, 1, 12},
                             {Op::backward_input, 1, 12},  {Op::send_backward, 1, 12},
                             {Op::backward_weight, 1, 12}, {Op::release_weights, 0, 0}};
  EXPECT_EQ(to_string(schedule), "G0.0 F0.0 sF0.0 rF1.12 F1.12 rB1.12 B1.12 sB1.12 W1.12 R0.0");
  EXPECT_EQ(parse_schedule(to_string(schedule)), schedule);
  EXPECT_EQ(parse_schedule(" F0.0\tF1.12\n B1.12 W1.12\r\n"),
            parse_schedule("F0.0 F1.12 B1.12 W1.12"));
  EXPECT_TRUE(parse_schedule(" \n").empty());
}

TEST(Schedule, NamesTheWordThatIsNoAction) {
  for (const char* word : {"X0.1", "F", "F0", "F0.", "F.1", "F0.1x", "F-1.0", "F0.-1", "f0.1",
                           "F0,1", "F99999999999.0", "s0.1", "sW0.1", "0.1", "F+1.0"})
    EXPECT_THAT(error_of([&] { parse_schedule(std::string("F0.0 ") + word + " B0.0"); }),
                AllOf(StartsWith("usage"), HasSubstr("'" + std::string(word) + "'")));
}

TEST(PlanText, PrintsAndParsesBackEverySchedule) {
  for (const ScheduleKind& kind : schedule_kinds())
    for (const int ranks : {1, 3}) {
      const Plan plan = make_plan(kind.name, ranks, 0, 2 * ranks);
      EXPECT_EQ(parse_plan(to_string(plan)), plan) << kind.name;
      const Plan complete = with_weight_gathers(with_messages(plan));
      EXPECT_EQ(parse_plan(to_string(complete)), complete) << kind.name;
    }
}

TEST(PlanText, IsOneLineARankAndMayHaveComments) {
  const Plan plan = parse_plan(
      "# two ranks in a V\n"
      "\n"
      "microbatches 1\r\n"
      "rank 0 stages 0 3: F0.0 F1.0 B1.0 W1.0 B0.0 W0.0\n"
      "  # the turn\n"
      "rank 1 stages 1 2: F0.0 F1.0 B1.0 W1.0 B0.0 W0.0");
  check_plan(plan);
  EXPECT_EQ(plan.stage_of_chunk, (std::vector<std::vector<int>>{{0, 3}, {1, 2}}));
  EXPECT_EQ(to_string(plan),
            "microbatches 1\n"
            "rank 0 stages 0 3: F0.0 F1.0 B1.0 W1.0 B0.0 W0.0\n"
            "rank 1 stages 1 2: F0.0 F1.0 B1.0 W1.0 B0.0 W0.0\n");
}

TEST(PlanText, NamesTheLineThatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "names no rank"},
      {"microbatches 1\n", "names no rank"},
      {"rank 0 stages 0: F0.0", "line 1: a plan starts with a line like 'microbatches 8'"},
      {"microbatches\n", "line 1: a plan starts"},
      {"microbatches 0\n", "line 1: a plan starts"},
      {"microbatches 1 2\n", "line 1: a plan starts"},
      {"microbatches 1\nrank 1 stages 0: F0.0", "line 2: 'rank 1 stages 0' is not like 'rank 0"},
      {"microbatches 1\nrank 0 stages: F0.0", "line 2: 'rank 0 stages' is not like"},
      {"microbatches 1\nrank 0 stages 0 x: F0.0", "is not like"},
      {"microbatches 1\nrank 0 stages 0 F0.0", "is not like"},
      {"microbatches 1\nrank 0: F0.0", "is not like"},
      {"microbatches 1\nrank 0 stages 0: F0.0 Q", "line 2: schedule: 'Q' is not an action"}};
  for (const auto& [text, message] : cases)
    EXPECT_THAT(error_of([&] { parse_plan(text); }), AllOf(StartsWith("usage"), HasSubstr(message)))
        << text;
}

std::string fault_of(const Plan& plan, const PlanRules& rules = {}) {
  return error_of([&] { check_plan(plan, rules); });
}
std::string fault_of(const std::string& schedule, const PlanRules& rules = {}) {
  return fault_of({2, {parse_schedule(schedule)}, {{0}}}, rules);
}
// Two ranks, one microbatch.
std::string fault_of(const std::string& first, const std::string& second) {
  return fault_of({1, {parse_schedule(first), parse_schedule(second)}, {{0}, {1}}});
}

TEST(CheckPlan, RefusesEveryKindOfBrokenList) {
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
  EXPECT_THAT(fault_of("F1.0 F0.0"), HasSubstr("F1.0 is outside"));
  EXPECT_THAT(fault_of("rF0.2 F0.0"), HasSubstr("rF0.2 is outside"));
  EXPECT_THAT(fault_of(Plan{0, {{}}, {{0}}}), HasSubstr("no microbatches"));
  EXPECT_THAT(fault_of(Plan{2000000000, {parse_schedule("F0.0")}, {{0}}}),
              HasSubstr("rank 0 does not finish"));
}

TEST(CheckPlan, BlamesWhomItIsToldTo) {
  EXPECT_THAT(fault_of("F0.0", {.blame = ErrorKind::usage}), StartsWith("usage"));
  EXPECT_THAT(fault_of(Plan{1, {{}}, {{3}}}, {.blame = ErrorKind::usage}), StartsWith("usage"));
}

TEST(CheckPlan, RefusesAPlacementWithHolesOrTwins) {
  EXPECT_THAT(fault_of(Plan{1, {{}}, {}}), HasSubstr("without placement"));
  EXPECT_THAT(fault_of(Plan{1, {{}, {}}, {{0}, {2}}}), HasSubstr("rank 1 holds stage 2 of 2"));
  EXPECT_THAT(fault_of(Plan{1, {{}, {}}, {{0}, {-1}}}), HasSubstr("rank 1 holds stage -1"));
  EXPECT_THAT(fault_of(Plan{1, {{}, {}}, {{0}, {0}}}),
              HasSubstr("rank 1 holds stage 0 which rank 0 already holds"));
}

TEST(CheckPlan, HoldsTheBoundOfLiveMicrobatches) {
  EXPECT_EQ(fault_of("F0.0 F0.1 B0.0 W0.0 B0.1 W0.1", {.max_live = 2}), "no error");
  EXPECT_THAT(fault_of("F0.0 F0.1 B0.0 W0.0 B0.1 W0.1", {.max_live = 1}),
              HasSubstr("rank 0, F0.1 makes 2 live microbatches, but the bound is 1"));
}

TEST(CheckPlan, KnowsEvaluation) {
  EXPECT_EQ(fault_of("F0.0 F0.1", {.forward_only = true}), "no error");
  EXPECT_THAT(fault_of("F0.0 F0.1"), HasSubstr("does not finish"));
  EXPECT_THAT(fault_of("F0.0 B0.0 F0.1", {.forward_only = true}),
              HasSubstr("B0.0 has no place in an evaluation"));
  check_plan(forward_plan({{0, 3}, {1, 2}}, 5), {.forward_only = true});
}

TEST(CheckPlan, WantsWeightsWholeWhereAPlanGathers) {
  EXPECT_EQ(fault_of("G0.0 F0.0 B0.0 R0.0 W0.0 G0.1 F0.1 B0.1 W0.1 R0.1"), "no error");
  EXPECT_THAT(fault_of("G0.0 F0.0 R0.0 B0.0 W0.0 F0.1 B0.1 W0.1"),
              HasSubstr("B0.0 has not gathered its weights"));
  EXPECT_THAT(fault_of("G0.0 F0.0 G0.0 B0.0 W0.0 F0.1 B0.1 W0.1 R0.1"),
              HasSubstr("G0.0 gathers weights that are already whole"));
  EXPECT_THAT(fault_of("R0.0 G0.0 F0.0 B0.0 W0.0 F0.1 B0.1 W0.1 R0.1"),
              HasSubstr("R0.0 releases weights not gathered"));
  EXPECT_THAT(fault_of("G0.0 F0.0 B0.0 W0.0 F0.1 B0.1 W0.1"),
              HasSubstr("rank 0 does not release the weights"));
}

TEST(CheckPlan, FindsWhoWaitsForWhom) {
  EXPECT_EQ(fault_of("F0.0 B0.0 W0.0", "F0.0 B0.0 W0.0"), "no error") << "compute actions alone";
  const Plan crossed{2,
                     {parse_schedule("F0.1 F0.0 B0.0 W0.0 B0.1 W0.1"),
                      parse_schedule("F0.0 B0.0 W0.0 F0.1 B0.1 W0.1")},
                     {{0}, {1}}};
  EXPECT_EQ(fault_of(crossed), "no error");
  const Plan deadlock{2,
                      {parse_schedule("F0.1 B0.1 F0.0 B0.0 W0.0 W0.1"),
                       parse_schedule("F0.0 B0.0 W0.0 F0.1 B0.1 W0.1")},
                      {{0}, {1}}};
  EXPECT_THAT(fault_of(deadlock), HasSubstr("rank 0, B0.1 can never run: rank 1 stands at F0.0"));
}

TEST(CheckPlan, MatchesMessages) {
  const std::string first = "F0.0 sF0.0 rB0.0 B0.0 W0.0", second = "rF0.0 F0.0 B0.0 sB0.0 W0.0";
  EXPECT_EQ(fault_of(first, second), "no error");
  EXPECT_THAT(fault_of("F0.0 rB0.0 B0.0 W0.0", second), HasSubstr("rank 1 stands at rF0.0"))
      << "lost";
  EXPECT_THAT(fault_of(first, "F0.0 rF0.0 B0.0 sB0.0 W0.0"), HasSubstr("can never run")) << "late";
  EXPECT_THAT(fault_of("sF0.0 F0.0 rB0.0 B0.0 W0.0", second),
              HasSubstr("sF0.0 sends what is not made"));
  EXPECT_THAT(fault_of("F0.0 sF0.0 sF0.0 rB0.0 B0.0 W0.0", second), HasSubstr("sF0.0 comes twice"));
  EXPECT_THAT(fault_of("F0.0 sF0.0 rB0.0 B0.0 sB0.0 W0.0", second),
              HasSubstr("sB0.0 has no neighbour: it is of the model's first stage"));
  EXPECT_THAT(fault_of(first, "rF0.0 F0.0 sF0.0 B0.0 sB0.0 W0.0"),
              HasSubstr("sF0.0 has no neighbour: it is of the model's last stage"));
  EXPECT_THAT(fault_of(Plan{1, {parse_schedule("F0.0 sF0.0 F1.0 B1.0 B0.0 W0.0 W1.0")}, {{0, 1}}}),
              HasSubstr("sF0.0 is a message of the rank to itself"));
}

// Asynchronous sends would carry this plan to its end.
TEST(CheckPlan, RefusesADeadlockOfSendsThatWait) {
  const Plan plan{2,
                  {parse_schedule("F0.0 sF0.0 F0.1 sF0.1 rB0.0 B0.0 W0.0 rB0.1 B0.1 W0.1"),
                   parse_schedule("rF0.0 F0.0 B0.0 sB0.0 W0.0 rF0.1 F0.1 B0.1 sB0.1 W0.1")},
                  {{0}, {1}}};
  EXPECT_THAT(fault_of(plan), HasSubstr("rank 0, sF0.1 can never run: rank 1 stands at sB0.0"));
}

}  // namespace
}  // namespace tessera::test
