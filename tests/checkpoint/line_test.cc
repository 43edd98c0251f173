// SPDX-License-Identifier: Apache-2.0
// The newest checkpoint is what the run's line saved last, whatever else stands in the directory.
#include "checkpoint/line.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checksum.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "tests/support/errors.h"
#include "tests/support/faulty_storage.h"
#include "tests/support/lines.h"
#include "tests/support/program.h"

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

class Line : public testing::Test {
 protected:
  Line() { log::set_console(log::Level::error, false); }
  void save(int64_t generation, int64_t base, int64_t step) {
    save_of(storage_, root_, generation, base, step);
  }
  std::string path(int64_t step) const { return root_ + "/" + step_name(step); }
  std::vector<int64_t> steps() { return committed_steps(storage_, root_); }
  std::vector<std::string> set_aside() { return quarantine_content(storage_, root_).names; }
  std::optional<LoadReport> load() {
    std::optional<LoadReport> loaded;
    run_ranks(1, [&](Communicator& world) {
      State state = line_state(0);
      loaded = load_newest(storage_, world, root_, state);
      if (!loaded) return;
      EXPECT_EQ(wrong_elements(state.entries[0], std::to_string(loaded->step)), 0);
    });
    return loaded;
  }

  TemporaryDirectory directory_;
  std::string root_ = directory_ / "checkpoints";
  PosixStorage storage_;
};

TEST_F(Line, WhatWasSavedAfterGoingBackIsTheNewestAndIsKept) {
  for (const int64_t step : {4, 8, 11, 12}) save(1, -1, step);
  for (const int64_t step : {5, 6, 7}) {
    save(2, 4, step);
    apply_retention(storage_, root_, {.last = 2, .every = 4}, 2);
    EXPECT_EQ(newest_valid(storage_, root_).step, step);
    EXPECT_EQ(steps().back(), step) << "a save just committed was deleted by its own retention";
  }
  EXPECT_THAT(steps(), ElementsAre(4, 6, 7));
  EXPECT_THAT(set_aside(), ElementsAre("step-00000008.abandoned", "step-00000011.abandoned",
                                       "step-00000012.abandoned"));
}

TEST_F(Line, ASecondTurnBackLeavesTheFirstBranchBehind) {
  for (const int64_t step : {10, 20}) save(1, -1, step);
  for (const int64_t step : {15, 25}) save(2, 10, step);
  save(3, 15, 18);
  EXPECT_THAT(steps(), ElementsAre(10, 15, 18));
}

TEST_F(Line, ARunFromNothingLeavesAllBehindAlsoWhatHasNoGeneration) {
  for (const int64_t step : {80, 90, 100}) save(0, -1, step);
  set_line(storage_, root_, -1, {});
  EXPECT_THAT(steps(), IsEmpty());
  save(1, -1, 10);
  apply_retention(storage_, root_, {.last = 1}, 1);
  EXPECT_THAT(steps(), ElementsAre(10));
  EXPECT_EQ(set_aside().size(), 3u);
}

TEST_F(Line, DamageIsSetAsideAndDoesNotCount) {
  for (const int64_t step : {4, 8}) save(1, -1, step);
  std::ofstream(path(8) + "/manifest.json", std::ios::app) << " ";
  ASSERT_EQ(load()->step, 4);
  const auto moved = set_line(storage_, root_, 4, {});
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_GT(moved[0].bytes, 400);
  for (const int64_t step : {5, 6, 7, 8}) {
    save(2, 4, step);
    apply_retention(storage_, root_, {.last = 1}, 2);
    EXPECT_THAT(steps(), ElementsAre(step));
  }
  EXPECT_THAT(set_aside(), ElementsAre("step-00000008.damaged"));
}

TEST_F(Line, DamagedDataFoundWhileLoadingAreSetAsideToo) {
  for (const int64_t step : {4, 8}) save(1, -1, step);
  const CheckpointReader reader = CheckpointReader::open(storage_, path(8));
  {
    std::fstream file(path(8) + "/rank-0000.h5", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(reader.shards()[0].boxes[0].at);
    file.put('\x7b');
  }
  const auto report = load();
  ASSERT_EQ(report->step, 4);
  EXPECT_EQ(report->passed_over.at(0).word, "damaged");
  set_line(storage_, root_, 4, {8});
  EXPECT_THAT(set_aside(), ElementsAre("step-00000008.damaged"));
}

TEST_F(Line, NamesInQuarantineAreNeverReused) {
  for (int round = 0; round < 3; ++round) {
    save(0, -1, 8);
    quarantine(storage_, root_, step_name(8), "abandoned");
  }
  EXPECT_THAT(set_aside(), ElementsAre("step-00000008.abandoned", "step-00000008.abandoned.2",
                                       "step-00000008.abandoned.3"));
  EXPECT_GT(empty_quarantine(storage_, root_, ""), 1200);
  EXPECT_THAT(set_aside(), IsEmpty());
}

TEST_F(Line, AReaderThatHasItOpenIsNotDisturbed) {
  save(1, -1, 8);
  CheckpointReader reader = CheckpointReader::open(storage_, path(8));
  const StateEntry wanted = line_state(8).entries[0];
  reader.read("w", "param", ShardSpec::whole({50}).box, Tensor({}, DType::f32, {50}));
  set_line(storage_, root_, -1, {});
  StateEntry entry = line_state(0).entries[0];
  reader.read("w", "param", entry.shard.box, entry.tensor);
  EXPECT_EQ(wrong_elements(entry, "8"), 0);
}

TEST_F(Line, AStepUnderAnotherNameIsPassedOverAndRefused) {
  for (const int64_t step : {3, 9}) save(1, -1, step);
  fs::rename(path(3), path(99));
  EXPECT_EQ(newest_valid(storage_, root_).step, 9);
  EXPECT_THAT(test::error_of([&] { CheckpointReader::open(storage_, path(99)); }),
              HasSubstr("its manifest is of step 3; give the directory its right name"));
  set_line(storage_, root_, 9, {});
  EXPECT_THAT(set_aside(), ElementsAre("step-00000099.misplaced"));
}

// Rewrites manifest and COMMIT of a checkpoint as a later Tessera might.
void make_newer(const std::string& directory) {
  const std::string old_text = read_text(directory + "/manifest.json");
  std::string text = old_text;
  const size_t version = text.find("\"version\":1");
  text.replace(version, 11, "\"version\":2");
  std::ofstream(directory + "/manifest.json", std::ios::binary) << text;
  std::string commit = read_text(directory + "/COMMIT");
  const std::string before = hex(crc32c(old_text)), after = hex(crc32c(text));
  commit.replace(commit.find(before), 8, after);
  std::ofstream(directory + "/COMMIT", std::ios::binary) << commit;
}

TEST_F(Line, ANewerFormatStopsWhereItIsTheNewestAndIsNeverReplaced) {
  for (const int64_t step : {4, 8}) save(1, -1, step);
  make_newer(path(8));
  EXPECT_THAT(test::error_of([&] { load(); }),
              testing::AllOf(HasSubstr("checkpoint: "), HasSubstr("use a newer Tessera")));
  set_line(storage_, root_, 4, {});  // somebody went back on purpose
  EXPECT_THAT(set_aside(), ElementsAre("step-00000008.newer-format"));
  EXPECT_EQ(load()->step, 4);
}

TEST_F(Line, AFlippedVersionIsDamageAndNoNewerFormat) {
  for (const int64_t step : {4, 8}) save(1, -1, step);
  std::string text = read_text(path(8) + "/manifest.json");
  text.replace(text.find("\"version\":1"), 11, "\"version\":3");
  std::ofstream(path(8) + "/manifest.json", std::ios::binary) << text;
  EXPECT_EQ(load()->step, 4);
}

TEST(LineInMemory, WhatCannotBeReadNowIsTriedAgainAndIsNoDamage) {
  log::set_console(log::Level::error, false);
  FaultyStorage disk;
  const std::string root = "checkpoints";
  for (const int64_t step : {9, 12}) save_of(disk, root, 1, -1, step);
  disk.fail_at(INT64_MAX, EIO);  // counts
  const auto load = [&] {
    int64_t step = -1;
    run_ranks(1, [&](Communicator& world) {
      State state = line_state(0);
      step = load_newest(disk, world, root, state)->step;
    });
    return step;
  };
  ASSERT_EQ(load(), 12);
  const int64_t calls = disk.calls();
  for (int64_t call = 1; call <= calls; call += 3) {
    disk.fail_at(call, EIO);
    EXPECT_EQ(load(), 12) << "call " << call;
  }
  disk.fail_reads(EIO);
  EXPECT_THAT(test::error_of(load), testing::StartsWith("storage: "));
}

TEST(LineInMemory, APowerCutWhileSettingAsideLosesNothing) {
  log::set_console(log::Level::error, false);
  bool finished = false;
  for (int64_t call = 1; !finished; ++call) {
    FaultyStorage disk;
    for (const int64_t step : {4, 8}) save_of(disk, "c", 1, -1, step);
    disk.lose_power_at(call);
    try {
      set_line(disk, "c", 4, {});
      finished = true;
    } catch (const Error&) {
    }
    for (uint64_t seed = 0; seed < 6; ++seed) {
      FaultyStorage later =
          disk.restarted(seed < 3 ? static_cast<Survival>(seed) : Survival::random, seed);
      const size_t here = committed_steps(later, "c").size();
      const size_t aside = quarantine_content(later, "c").names.size();
      EXPECT_GE(here + aside, 2u) << "call " << call << " seed " << seed;
    }
  }
}

}  // namespace
}  // namespace tessera
