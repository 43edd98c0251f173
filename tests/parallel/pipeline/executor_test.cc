// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/communicate.h"
#include "parallel/pipeline/generators.h"
#include "parallel/pipeline/simulate.h"
#include "tests/parallel/pipeline/fake_stage.h"
#include "tests/support/errors.h"
#include "tests/support/thread_communicator.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

std::string calls_of(const Plan& plan) {
  FakeStage stage(plan, 0);
  Stream stream(Device{});
  const auto alone = self_communicator("pipeline");
  run(plan, 0, stage, stream, *alone);
  return stage.calls;
}

std::string calls_of(const std::string& schedule) {
  return calls_of({2, {parse_schedule(schedule)}, {{0, 1}}});
}

TEST(Executor, RunsTheActionsInOrder) {
  EXPECT_EQ(calls_of("F0.0 F1.0 F0.1 B1.0 B0.0 W1.0 W0.0"), "F0.0 F1.0 F0.1 B1.0 B0.0 W1.0 W0.0");
  EXPECT_EQ(calls_of(""), "");
}

TEST(Executor, FusesBothHalvesWhereTheyStandSideBySide) {
  EXPECT_EQ(calls_of("F0.0 F1.0 B1.0 W1.0 B0.0 W0.0"), "F0.0 F1.0 BW1.0 BW0.0");
  EXPECT_EQ(calls_of("F0.0 F1.0 F0.1 F1.1 B1.0 B1.1 W1.0 W1.1"),
            "F0.0 F1.0 F0.1 F1.1 B1.0 B1.1 W1.0 W1.1")
      << "another microbatch's W";
  EXPECT_EQ(calls_of("F0.0 F1.0 B1.0 B0.0 W1.0 W0.0"), "F0.0 F1.0 B1.0 B0.0 W1.0 W0.0")
      << "another chunk's W";
  EXPECT_EQ(calls_of(with_messages(one_f_one_b(1, 2))), "F0.0 BW0.0 F0.1 BW0.1");
}

TEST(Executor, CarriesEveryTensorToItsUserUnderEverySchedule) {
  for (const ScheduleKind& kind : schedule_kinds())
    for (const int ranks : {1, 2, 4})
      for (const int micros : {2 * ranks, 4 * ranks}) {
        SCOPED_TRACE(kind.name + std::string(" p=") + std::to_string(ranks) +
                     " m=" + std::to_string(micros));
        const Plan plan = with_messages(make_plan(kind.name, ranks, 0, micros));
        run_ranks(ranks, [&](Communicator& pipeline) { expect_runs(plan, pipeline); });
      }
}

TEST(Executor, UsesWeightsOnlyWhileTheyAreWhole) {
  for (const char* name : {"1f1b", "interleaved"}) {
    const Plan plan = with_weight_gathers(with_messages(make_plan(name, 2, 0, 4)));
    run_ranks(2, [&](Communicator& pipeline) { expect_runs(plan, pipeline); });
  }
}

TEST(Executor, EvaluatesForwardAlone) {
  const Plan straight = forward_plan({{0}, {1}, {2}, {3}}, 6);
  run_ranks(4, [&](Communicator& pipeline) { expect_runs(straight, pipeline, true); });
  const Plan v_shaped = forward_plan({{0, 3}, {1, 2}}, 5);
  run_ranks(2, [&](Communicator& pipeline) { expect_runs(v_shaped, pipeline, true); });
}

TEST(Executor, RemembersAsManyMicrobatchesAsTheSimulatorSays) {
  const Plan plan = with_messages(one_f_one_b(4, 8));
  const Simulation simulation = simulate(plan);
  run_ranks(4, [&](Communicator& pipeline) {
    FakeStage stage(plan, pipeline.rank());
    Stream stream(Device{});
    run(plan, pipeline.rank(), stage, stream, pipeline);
    EXPECT_EQ(stage.peak, simulation.peak_live[static_cast<size_t>(pipeline.rank())]);
    EXPECT_EQ(stage.peak, 4 - pipeline.rank());
  });
}

TEST(Executor, RefusesWhatCannotRun) {
  const Plan no_messages = one_f_one_b(2, 2);
  const auto alone = self_communicator("pipeline");
  Stream stream(Device{});
  FakeStage stage(no_messages, 0);
  EXPECT_THAT(error_of([&] { run(no_messages, 0, stage, stream, *alone); }),
              HasSubstr("rank 0 of a plan for 2 runs as rank 0 of 1"));
  EXPECT_THAT(error_of([&] {
                run_ranks(2, [&](Communicator& pipeline) {
                  FakeStage mine(no_messages, pipeline.rank());
                  run(no_messages, pipeline.rank(), mine, stream, pipeline);
                });
              }),
              HasSubstr("has no input for"));
}

}  // namespace
}  // namespace tessera::test
