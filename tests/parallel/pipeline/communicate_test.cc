// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/communicate.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/generators.h"
#include "parallel/pipeline/simulate.h"
#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

template <typename Visit>
void for_many_plans(Visit&& visit) {
  for (const ScheduleKind& kind : schedule_kinds())
    for (int ranks = 1; ranks <= 8; ++ranks)
      for (int micros = kind.least(ranks); micros <= 2 * ranks + 3; ++micros) {
        if (micros % kind.multiple(ranks) != 0) continue;
        SCOPED_TRACE(kind.name + std::string(" p=") + std::to_string(ranks) +
                     " m=" + std::to_string(micros));
        visit(make_plan(kind.name, ranks, 0, micros));
      }
}

Plan only_compute(Plan plan) {
  for (Schedule& schedule : plan.ranks)
    std::erase_if(schedule, [](const Action& action) { return !is_compute(action.op); });
  return plan;
}

TEST(WithMessages, SendsWhatWasMadeAndPostsReceivesBeforeTheirUse) {
  const Plan plan = with_messages(one_f_one_b(2, 2));
  EXPECT_EQ(to_string(plan),
            "microbatches 2\n"
            "rank 0 stages 0: F0.0 sF0.0 F0.1 sF0.1 rB0.0 B0.0 W0.0 rB0.1 B0.1 W0.1\n"
            "rank 1 stages 1: rF0.0 rF0.1 F0.0 B0.0 sB0.0 W0.0 F0.1 B0.1 sB0.1 W0.1\n");
}

TEST(WithMessages, HandsOverAtTheTurnOfAV) {
  const Plan plan =
      with_messages(parse_plan("microbatches 1\n"
                               "rank 0 stages 0 3: F0.0 F1.0 B1.0 W1.0 B0.0 W0.0\n"
                               "rank 1 stages 1 2: F0.0 F1.0 B1.0 W1.0 B0.0 W0.0\n"));
  EXPECT_EQ(to_string(plan),
            "microbatches 1\n"
            "rank 0 stages 0 3: F0.0 sF0.0 rF1.0 F1.0 B1.0 sB1.0 W1.0 rB0.0 B0.0 W0.0\n"
            "rank 1 stages 1 2: rF0.0 F0.0 F1.0 sF1.0 rB1.0 B1.0 W1.0 B0.0 sB0.0 W0.0\n");
}

// check_plan runs them with sends that wait for their receivers.
TEST(WithMessages, KeepsTheOrderOfComputationAndCannotDeadlock) {
  for_many_plans([](const Plan& plan) {
    const Plan complete = with_messages(plan);
    check_plan(complete);
    EXPECT_EQ(only_compute(complete), plan);
    int messages = 0, turns = 0;
    for (const Schedule& schedule : complete.ranks)
      for (const Action& action : schedule) messages += is_send(action.op) ? 1 : 0;
    const std::vector<StagePlace> places = places_of_stages(plan);
    for (size_t stage = 1; stage < places.size(); ++stage)
      turns += places[stage].rank == places[stage - 1].rank ? 1 : 0;
    EXPECT_EQ(messages, 2 * plan.num_micro * (plan.num_stages() - 1 - turns));
  });
}

TEST(WithMessages, KeepsBothHalvesTogetherWhereNothingIsSentBetween) {
  for_many_plans([](const Plan& plan) {
    const Plan complete = with_messages(plan);
    const StagePlace first = places_of_stages(plan).front();
    const auto pairs = [&](const Plan& in) {
      int found = 0;
      const Schedule& schedule = in.ranks[static_cast<size_t>(first.rank)];
      for (size_t i = 0; i + 1 < schedule.size(); ++i)
        found += schedule[i].op == Op::backward_input && schedule[i].chunk == first.chunk &&
                         schedule[i + 1] ==
                             Action{Op::backward_weight, schedule[i].chunk, schedule[i].micro}
                     ? 1
                     : 0;
      return found;
    };
    EXPECT_EQ(pairs(complete), pairs(plan));
  });
}

TEST(WithMessages, RefusesWhatItCannotComplete) {
  EXPECT_THAT(error_of([] { with_messages(with_messages(one_f_one_b(2, 2))); }),
              AllOf(StartsWith("usage"), HasSubstr("rank 0 already has sF0.0: leave what moves")));
  EXPECT_THAT(error_of([] { with_weight_gathers(with_weight_gathers(one_f_one_b(2, 2))); }),
              AllOf(StartsWith("usage"), HasSubstr("rank 0 already has G0.0")));
}

TEST(WithWeightGathers, GathersAChunkOnceForEachRunOfItsActions) {
  const Plan plan{
      2, {parse_schedule("F0.0 F0.1 F1.0 B1.0 W1.0 F1.1 B1.1 B0.0 W1.1 W0.0 B0.1 W0.1")}, {{0, 1}}};
  const Plan one = with_weight_gathers(plan, 1);
  check_plan(one);
  EXPECT_EQ(to_string(one.ranks[0]),
            "G0.0 F0.0 F0.1 R0.1 G1.0 F1.0 B1.0 W1.0 F1.1 B1.1 R1.1 G0.0 B0.0 W1.1 W0.0 B0.1 "
            "W0.1 R0.1");
  const Plan two = with_weight_gathers(plan, 2);
  check_plan(two);
  EXPECT_EQ(to_string(two.ranks[0]),
            "G0.0 F0.0 F0.1 G1.0 F1.0 B1.0 W1.0 F1.1 B1.1 R1.1 B0.0 W1.1 W0.0 B0.1 W0.1 R0.1");
}

// With room for two of three, the one that is needed last goes.
TEST(WithWeightGathers, LetsGoOfWhatIsNeededLast) {
  const Plan plan{1, {parse_schedule("F0.0 F1.0 F2.0 B2.0 W2.0 B1.0 W1.0 B0.0 W0.0")}, {{0, 1, 2}}};
  EXPECT_EQ(to_string(with_weight_gathers(plan, 2).ranks[0]),
            "G0.0 F0.0 G1.0 F1.0 R0.0 G2.0 F2.0 B2.0 W2.0 R2.0 B1.0 W1.0 R1.0 G0.0 B0.0 W0.0 "
            "R0.0");
}

TEST(WithWeightGathers, IsSoundForEverySchedule) {
  for_many_plans([](const Plan& plan) {
    for (const int room : {1, 2}) {
      const Plan complete = with_weight_gathers(with_messages(plan), room);
      check_plan(complete);
      EXPECT_EQ(only_compute(complete), plan);
      for (const int peak : simulate(complete).peak_gathered) EXPECT_LE(peak, room);
      check_plan(with_messages(with_weight_gathers(plan, room)));
    }
  });
}

TEST(ForwardPlan, PassesGroupsOfMicrobatchesThroughTheStages) {
  EXPECT_EQ(to_string(only_compute(forward_plan({{0, 2}, {1, 3}}, 3))),
            "microbatches 3\n"
            "rank 0 stages 0 2: F0.0 F0.1 F1.0 F1.1 F0.2 F1.2\n"
            "rank 1 stages 1 3: F0.0 F0.1 F1.0 F1.1 F0.2 F1.2\n");
  for (const int micros : {1, 4, 7}) {
    check_plan(forward_plan(v_placement(4), micros), {.forward_only = true});
    check_plan(forward_plan({{0, 1}, {2, 3}}, micros), {.forward_only = true});
  }
}

}  // namespace
}  // namespace tessera::test
