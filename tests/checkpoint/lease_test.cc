// SPDX-License-Identifier: Apache-2.0
// One holder at a time, whatever dies, sleeps or wakes up.
#include "checkpoint/lease.h"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/lease_record.h"
#include "checkpoint/line.h"
#include "checkpoint/reader.h"
#include "checkpoint/retention.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "tests/support/errors.h"
#include "tests/support/lines.h"
#include "tests/support/program.h"

namespace tessera {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class LeaseTest : public testing::Test {
 protected:
  LeaseTest() { log::set_console(log::Level::error, false); }
  std::string take_error(const LeaseOptions& options = {}) const {
    return error_of([&] { Lease::take(path_, options); });
  }
  // A holder on a machine that is not this one.
  void write_foreign(int64_t beat, bool released = false) const {
    LeaseRecord record;
    record.generation = 5;
    record.host = "elsewhere";
    record.pid = 77;
    record.process = "77 1234 another boot";
    record.since = "2026-11-30 08:00:00 UTC";
    record.saved = 40;
    record.beat = beat;
    record.released = released;
    record.interval_seconds = 0.05;
    std::fstream file(path_ + "/LEASE.5", std::ios::in | std::ios::out | std::ios::binary);
    if (!file) file.open(path_ + "/LEASE.5", std::ios::out | std::ios::binary);
    file << to_text(record);
  }
  TemporaryDirectory directory_;
  std::string path_ = directory_.path();
};

TEST_F(LeaseTest, ASecondJobIsRefusedAndToldWhoHoldsIt) {
  const auto first = Lease::take(path_);
  EXPECT_EQ(first->generation(), 1);
  EXPECT_THAT(take_error(), AllOf(StartsWith("busy: " + path_ + " is held by process " +
                                             std::to_string(::getpid()) + " on host "),
                                  HasSubstr(" since 20"), HasSubstr("--take-over")));
  EXPECT_EQ(exit_code(ErrorKind::busy), 9);
  EXPECT_NO_THROW(first->check_held());
}

TEST_F(LeaseTest, WhatIsGivenBackIsFreeAndTheGenerationGrows) {
  for (int64_t generation = 1; generation <= 3; ++generation) {
    const auto lease = Lease::take(path_);
    EXPECT_EQ(lease->generation(), generation);
    EXPECT_EQ(lease->last_saved(), generation == 1 ? -1 : 10 * (generation - 1));
    lease->saved(10 * generation);
  }
  EXPECT_THAT(PosixStorage().list(path_), ElementsAre("LEASE.3"));
}

TEST_F(LeaseTest, ADeadProcessHoldsNothing) {
  const pid_t child = ::fork();
  if (child == 0) {
    static std::unique_ptr<Lease> held;
    held = Lease::take(path_);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(Lease::take(path_)->generation(), 2);
}

TEST_F(LeaseTest, AForeignHolderWhoseHeartStopsIsDeadAndWhatItSavedIsKnown) {
  write_foreign(3);
  const auto lease = Lease::take(path_, {.interval_seconds = 0.05});
  EXPECT_EQ(lease->generation(), 6);
  EXPECT_EQ(lease->last_saved(), 40);
}

TEST_F(LeaseTest, AForeignHolderWhoseHeartBeatsIsAlive) {
  write_foreign(0);
  std::atomic<bool> stop = false;
  std::thread heart([&] {
    for (int64_t beat = 1; !stop; ++beat) {
      write_foreign(beat);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  EXPECT_THAT(take_error({.interval_seconds = 0.2}),
              HasSubstr("process 77 on host elsewhere since 2026-11-30 08:00:00 UTC"));
  stop = true;
  heart.join();
}

TEST_F(LeaseTest, AnEmptyFileIsAHolderThatHasNotWrittenItsName) {
  std::ofstream(path_ + "/LEASE.4").close();
  EXPECT_EQ(Lease::take(path_, {.interval_seconds = 0.02})->generation(), 5);
  std::ofstream(path_ + "/LEASE.x") << "no lease";
  std::ofstream(path_ + "/LEASE.07") << "no lease";
  EXPECT_EQ(Lease::take(path_)->generation(), 6);
}

// The second job looks in the moment between the making of the file and its first bytes.
TEST_F(LeaseTest, AHolderThatIsJustWritingItsNameIsNamed) {
  const int file = ::open((path_ + "/LEASE.5").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_EQ(::flock(file, LOCK_EX | LOCK_NB), 0);
  std::thread first([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    write_foreign(1);
  });
  EXPECT_THAT(take_error(), HasSubstr("is held by process 77 on host elsewhere"));
  first.join();
  ::close(file);
}

TEST_F(LeaseTest, AfterATakeOverTheFormerHolderMayWriteNothing) {
  const auto former = Lease::take(path_, {.interval_seconds = 0.02});
  const auto latter = Lease::take(path_, {.take_over = true});
  EXPECT_THAT(error_of([&] { former->check_held(); }),
              AllOf(StartsWith("busy: "), HasSubstr("has been taken over by process")));
  for (int i = 0; i < 200 && !former->lost(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(former->lost());
  EXPECT_NO_THROW(latter->check_held());
}

TEST_F(LeaseTest, OfManyAtOnceOneGetsIt) {
  std::atomic<int> got = 0, busy = 0;
  std::vector<std::thread> jobs;
  std::vector<std::unique_ptr<Lease>> leases(8);
  for (size_t i = 0; i < leases.size(); ++i)
    jobs.emplace_back([&, i] {
      try {
        leases[i] = Lease::take(path_);
        ++got;
      } catch (const Error& error) {
        busy += error.kind() == ErrorKind::busy;
      }
    });
  for (std::thread& job : jobs) job.join();
  EXPECT_EQ(got, 1);
  EXPECT_EQ(busy, 7);
}

TEST_F(LeaseTest, NoLinkIsWrittenThrough) {
  std::ofstream(path_ + "/precious") << "text";
  std::filesystem::create_symlink(path_ + "/precious", path_ + "/LEASE.1");
  Lease::take(path_, {.interval_seconds = 0.01});
  EXPECT_EQ(read_text(path_ + "/precious"), "text");
}

// Lets something happen right before the rename that makes a save visible, as if the process had
// been stopped there.
class PausedStorage : public PosixStorage {
 public:
  std::function<void()> pause;
  void rename(const std::string& from, const std::string& to) override {
    if (from.find(kTemporaryPrefix) != std::string::npos && pause) std::exchange(pause, {})();
    PosixStorage::rename(from, to);
  }
};

struct WokenHolder : LeaseTest {
  PausedStorage storage;
  PosixStorage other_storage;
  std::string root = path_;

  // The first job saves 10 and is stopped in the save of 20, between the check and the rename. The
  // second takes over, goes on from 10 and saves `steps`. Then the first wakes up.
  std::string wake_after(const std::vector<int64_t>& steps) {
    const auto first = Lease::take(root, {.interval_seconds = 100});
    first->went_on_from(-1);
    save_of(storage, root, 1, -1, 10);
    storage.pause = [&] {
      second_ = Lease::take(root, {.take_over = true});
      second_->went_on_from(10);
      set_line(other_storage, root, 10, {});
      for (const int64_t step : steps) save_of(other_storage, root, 2, 10, step);
    };
    return error_of([&] { save_of(storage, root, 1, -1, 20, [&] { first->check_held(); }); });
  }
  std::unique_ptr<Lease> second_;
};

TEST_F(WokenHolder, DoesNotReplaceWhatTheOtherSavedAsTheSameStep) {
  const std::string error = wake_after({15, 20});
  EXPECT_NE(error, "no error");
  EXPECT_EQ(newest_valid(other_storage, root, {.verify_data = true}).step, 20);
  EXPECT_EQ(CheckpointReader::open(other_storage, root + "/step-00000020").manifest().generation,
            2);
}

TEST_F(WokenHolder, CommitsNothingOnceItHasBeenTakenOver) {
  EXPECT_THAT(wake_after({12}), StartsWith("busy: "));
  EXPECT_EQ(newest_valid(other_storage, root).step, 12);
  EXPECT_THAT(committed_steps(other_storage, root), ElementsAre(10, 12));
}

TEST_F(WokenHolder, EvenACommitInTheLastMomentIsNotOfTheLine) {
  wake_after({12});
  save_of(other_storage, root, 1, -1, 30);  // as if no check had stood before COMMIT
  EXPECT_EQ(newest_valid(other_storage, root).step, 12);
  save_of(other_storage, root, 2, 10, 14);
  apply_retention(other_storage, root, {.last = 1}, 2);
  EXPECT_THAT(committed_steps(other_storage, root), ElementsAre(14));
  EXPECT_THAT(quarantine_content(other_storage, root).names,
              testing::Contains("step-00000030.abandoned"));
}

TEST_F(WokenHolder, BeforeTheOtherHasSavedAnythingItsDecisionCounts) {
  wake_after({});
  save_of(other_storage, root, 1, -1, 30);
  EXPECT_EQ(newest_valid(other_storage, root).step, 10);
}

TEST_F(LeaseTest, TheSaveOfALivingJobIsNotSwept) {
  PosixStorage storage;
  const std::string mine = temporary_name(3, 4), theirs = temporary_name(3, 6);
  for (const std::string& name : {mine, theirs}) storage.make_directory(path_ + "/" + name);
  EXPECT_EQ(sweep_remains(storage, path_, 5), 1);
  EXPECT_TRUE(storage.exists(path_ + "/" + theirs));
}

}  // namespace
}  // namespace tessera
