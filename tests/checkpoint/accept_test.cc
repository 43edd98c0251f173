// SPDX-License-Identifier: Apache-2.0
// Whoever loads may refuse a sound checkpoint before any of it is read; that is no damage.
#include <mutex>

#include <gtest/gtest.h>

#include "checkpoint/load.h"
#include "kernels/base/check.h"
#include "tests/support/errors.h"
#include "tests/support/lines.h"

namespace tessera {
namespace {

TEST(Accept, ARefusalReachesAllRanksAndIsNotPassedOver) {
  TemporaryDirectory directory;
  PosixStorage storage;
  for (const int64_t step : {1, 2}) save_of(storage, directory.checkpoints(), 0, -1, step);
  std::mutex mutex;
  std::vector<std::string> said;
  std::vector<int64_t> asked;
  run_ranks(2, [&](Communicator& world) {
    State state = line_state(7);
    const std::string before(static_cast<const char*>(state.entries[0].tensor.data()), 400);
    const std::string error = test::error_of([&] {
      load_newest(storage, world, directory.checkpoints(), state,
                  {.accept = [&](const CheckpointReader& from) {
                    const std::lock_guard lock(mutex);
                    asked.push_back(from.manifest().step);
                    fail(ErrorKind::usage, "another model");
                  }});
    });
    const std::lock_guard lock(mutex);
    said.push_back(error);
    EXPECT_EQ(std::string(static_cast<const char*>(state.entries[0].tensor.data()), 400), before);
  });
  EXPECT_EQ(said, std::vector<std::string>(2, "usage: another model (rank 0)"));
  EXPECT_EQ(asked, std::vector<int64_t>{2});
}

TEST(Accept, WhatIsAcceptedIsLoaded) {
  TemporaryDirectory directory;
  PosixStorage storage;
  save_of(storage, directory.checkpoints(), 0, -1, 1);
  run_ranks(1, [&](Communicator& world) {
    State state = line_state(7);
    const auto report = load_newest(storage, world, directory.checkpoints(), state,
                                    {.accept = [](const CheckpointReader&) {}});
    EXPECT_EQ(report->step, 1);
  });
}

}  // namespace
}  // namespace tessera
