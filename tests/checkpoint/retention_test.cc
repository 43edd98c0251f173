// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/retention.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/reader.h"
#include "kernels/base/check.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

State small_state(StateEntry (*make)(const std::string&, const std::string&, DType,
                                     const ShardSpec&)) {
  State state;
  state.entries.push_back(make("w", "param", DType::f32, ShardSpec::whole({100})));
  return state;
}

class Retention : public testing::Test {
 protected:
  void save(int64_t step) {
    run_ranks(1, [&](Communicator& world) {
      save_checkpoint(storage_, world, root_, save_info(step), small_state(filled_entry));
    });
  }
  std::string path(int64_t step) const { return root_ + "/" + step_name(step); }

  TemporaryDirectory directory_;
  std::string root_ = directory_.checkpoints();
  PosixStorage storage_;
};

using Steps = std::vector<int64_t>;

TEST_F(Retention, NoDirectoryMeansNoSteps) {
  EXPECT_EQ(committed_steps(storage_, root_), Steps{});
  EXPECT_FALSE(newest_valid(storage_, root_).step.has_value());
  EXPECT_TRUE(apply_retention(storage_, root_, {}).deleted.empty());
}

TEST_F(Retention, KeepsTheLastTheEveryAndThePinned) {
  for (const int64_t step : {10, 20, 30, 35, 40, 50, 60}) save(step);
  EXPECT_EQ(committed_steps(storage_, root_), (Steps{10, 20, 30, 35, 40, 50, 60}));
  const RetentionReport report =
      apply_retention(storage_, root_, {.last = 2, .every = 20, .pinned = {10}});
  EXPECT_EQ(report.deleted, (Steps{30, 35}));
  EXPECT_EQ(committed_steps(storage_, root_), (Steps{10, 20, 40, 50, 60}));
  EXPECT_EQ(apply_retention(storage_, root_, {.last = 0}).deleted, (Steps{10, 20, 40, 50}));
  EXPECT_EQ(newest_valid(storage_, root_).step, 60);
}

TEST_F(Retention, KeepsAsManyAsAskedForBeyondAnInt) {
  for (const int64_t step : {1, 2, 3}) save(step);
  for (const int64_t last : {int64_t{3'000'000'000}, int64_t{1'000'000'000'000}, INT64_MAX})
    EXPECT_EQ(apply_retention(storage_, root_, {.last = last}).deleted, Steps{}) << last;
}

TEST_F(Retention, SweepsWhatDeadSavesLeftButNothingElse) {
  for (const int64_t step : {10, 20}) save(step);
  std::filesystem::copy(path(10), root_ + "/.tmp-step-00000030.0123456789abcdef");
  std::filesystem::copy(path(10), root_ + "/.trash-step-00000005.0123456789abcdef");
  std::filesystem::copy(path(10), path(15));
  std::filesystem::remove(path(15) + "/COMMIT");  // incomplete, and overtaken by 20
  std::filesystem::copy(path(10), path(25));
  std::filesystem::remove(path(25) + "/COMMIT");  // incomplete, but nothing newer is there yet
  std::ofstream(root_ + "/notes.txt") << "a person's file";
  std::filesystem::create_directory(root_ + "/step-7");  // not our spelling
  EXPECT_EQ(apply_retention(storage_, root_, {}).swept, 3);
  EXPECT_EQ(storage_.list(root_),
            (std::vector<std::string>{"notes.txt", "step-00000010", "step-00000020",
                                      "step-00000025", "step-7"}));
}

TEST_F(Retention, ASaveFirstSweepsWhatDeadOnesLeft) {
  save(10);
  std::filesystem::copy(path(10), root_ + "/.tmp-step-00000030.0123456789abcdef");
  std::filesystem::create_directory(root_ + "/.tmp-step-00000040.0123456789abcdef");
  std::filesystem::create_directory(root_ + "/.tmp-step-00000040.0123456789abcdef/not-ours");
  std::ofstream(root_ + "/.tmp-step-00000040.0123456789abcdef/not-ours/x") << "cannot be swept";
  save(20);
  EXPECT_EQ(committed_steps(storage_, root_), (Steps{10, 20}));
  EXPECT_FALSE(storage_.exists(root_ + "/.tmp-step-00000030.0123456789abcdef"));
}

TEST_F(Retention, NewestValidPassesOverWithReasons) {
  for (const int64_t step : {10, 20, 30, 40}) save(step);
  std::filesystem::remove(path(40) + "/COMMIT");
  std::filesystem::resize_file(path(30) + "/rank-0000.h5", 100);
  const NewestCheckpoint newest = newest_valid(storage_, root_);
  EXPECT_EQ(newest.step, 20);
  EXPECT_EQ(newest.directory, path(20));
  ASSERT_EQ(newest.passed_over.size(), 2u);
  EXPECT_EQ(newest.passed_over[0].step, 40);
  EXPECT_NE(newest.passed_over[0].reason.find("no COMMIT record"), std::string::npos);
  EXPECT_NE(newest.passed_over[1].reason.find("rank-0000.h5: is damaged: it has 100 bytes"),
            std::string::npos)
      << newest.passed_over[1].reason;
  EXPECT_EQ(newest_valid(storage_, root_, {.before = 20}).step, 10);
}

void flip_byte(const std::string& path, int64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(at);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(at);
  file.put(byte);
}

TEST_F(Retention, LoadNewestFallsBackOnDamagedDataAndNeverStartsAfreshSilently) {
  std::optional<LoadReport> loaded;
  const auto load = [&] {
    run_ranks(2, [&](Communicator& world) {
      State state = small_state(blank_entry);
      const auto report = load_newest(storage_, world, root_, state);
      if (report.has_value()) {
        EXPECT_EQ(wrong_elements(state.entries[0]), 0);
      }
      if (world.rank() == 0) loaded = report;
    });
  };
  load();
  EXPECT_FALSE(loaded.has_value());
  for (const int64_t step : {10, 20, 30}) save(step);
  const CheckpointReader reader = CheckpointReader::open(storage_, path(30));
  const int64_t data = reader.shards()[0].boxes[0].at;
  flip_byte(path(30) + "/rank-0000.h5", data + 7);
  EXPECT_EQ(newest_valid(storage_, root_).step, 30) << "a quick look does not read the data";
  EXPECT_EQ(newest_valid(storage_, root_, {.verify_data = true}).step, 20);
  load();
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->step, 20);
  ASSERT_EQ(loaded->passed_over.size(), 1u);
  EXPECT_NE(loaded->passed_over[0].reason.find("CRC32C of tensor w (param)"), std::string::npos);
  for (const int64_t step : {10, 20}) flip_byte(path(step) + "/rank-0000.h5", data);
  EXPECT_THROW(load(), Error);
}

}  // namespace
}  // namespace tessera
