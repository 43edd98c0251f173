// SPDX-License-Identifier: Apache-2.0
// The schedules over real messages, which are larger than MPI sends without their receiver.
#include <gtest/gtest.h>

#include "parallel/pipeline/communicate.h"
#include "parallel/pipeline/generators.h"
#include "tests/parallel/pipeline/fake_stage.h"
#include "tests/support/rank_world.h"

namespace tessera::test {
namespace {

TEST(ExecutorRanks, CarryEveryTensorToItsUserUnderEverySchedule) {
  Communicator& pipeline = world().all();
  const int ranks = pipeline.size();
  for (const ScheduleKind& kind : schedule_kinds()) {
    SCOPED_TRACE(kind.name);
    const Plan plan = with_messages(make_plan(kind.name, ranks, 0, 4 * ranks));
    for (int step = 0; step < 2; ++step) expect_runs(plan, pipeline);
  }
}

TEST(ExecutorRanks, EvaluateForwardAlone) {
  Communicator& pipeline = world().all();
  expect_runs(forward_plan(v_placement(pipeline.size()), 7), pipeline, true);
}

}  // namespace
}  // namespace tessera::test
