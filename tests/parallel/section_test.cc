// SPDX-License-Identifier: Apache-2.0
// Whatever stands still is named and ended, in a process of its own; what moves, waits for
// something slow, or was stopped itself is left alone.
#include "parallel/section.h"

#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "parallel/waiting_notes.h"
#include "parallel/watchdog.h"
#include "parallel/world.h"
#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using testing::ExitedWithCode;

const std::string kGroup = "world";

void rest(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(Watchdog, NamesSectionAndFileOfAProcessThatIsAlone) {
  EXPECT_EXIT(
      {
        set_section_limits({.start = 1800, .hang = 1800, .save = 1});
        const Section step(SectionKind::step, "17");
        const Section save(SectionKind::save, "of step 17");
        const Activity activity("syncing", "run/rank-0000.h5");
        rest(60000);
      },
      ExitedWithCode(7),
      "save of step 17: syncing run/rank-0000.h5 has taken [0-9]+ s "
      "\\(on_failure.save_timeout\\)");
}

TEST(Watchdog, NamesTheSectionWhereNothingElseIsKnown) {
  EXPECT_EXIT(
      {
        set_section_limits({.start = 1800, .hang = 1, .save = 1800});
        const Section step(SectionKind::step, "17");
        rest(60000);
      },
      ExitedWithCode(7), "step 17: nothing has moved for [0-9]+ s \\(on_failure.hang_timeout\\)");
}

TEST(Watchdog, NamesTheCollectiveAlsoOutsideAnySection) {
  EXPECT_EXIT(
      {
        set_hang_timeout(1);
        const Watched watched(kGroup, "all-reduce", "loss", 8);
        rest(60000);
      },
      ExitedWithCode(7),
      "error: all-reduce \\(group world, 8 bytes, loss\\) #1 waited [0-9]+ s for the other ranks");
}

TEST(Watchdog, LeavesWhatMovesAndWhatHasALimitOfItsOwn) {
  EXPECT_EXIT(
      {
        set_section_limits({.start = 1800, .hang = 2, .save = 1800});
        const Section step(SectionKind::step, "1");
        for (int i = 0; i < 35; ++i) {
          moved();
          rest(100);
        }
        const Section save(SectionKind::save, "of step 1");
        const Watched watched(kGroup, "all-reduce", "checkpoint data", 8);
        rest(3500);
        _exit(0);
      },
      ExitedWithCode(0), "");
}

// The child is stopped for longer than its patience and does not blame the others when it wakes up.
TEST(Watchdog, ForgivesAfterItWasStoppedItself) {
  EXPECT_EXIT(
      {
        set_section_limits({.start = 1800, .hang = 3, .save = 1800});
        const pid_t stopped = getpid();
        if (fork() == 0) {
          rest(4500);
          kill(stopped, SIGCONT);
          _exit(0);
        }
        const Section step(SectionKind::step, "1");
        const Watched watched(kGroup, "all-reduce", "loss", 8);
        kill(stopped, SIGSTOP);
        rest(1500);
        _exit(0);
      },
      ExitedWithCode(0), "");
}

TEST(Watchdog, NamesTheRanksThatWroteNoNote) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "rank-0001.waiting")
      << "waits: step 4: all-reduce (group world, 8 bytes, loss)";
  EXPECT_EXIT(
      {
        set_section_limits({.start = 1800, .hang = 1, .save = 1800});
        keep_waiting_notes(directory.path(), 0, 3);
        const Section step(SectionKind::step, "4");
        const Watched watched(kGroup, "all-reduce", "loss", 8);
        rest(60000);
      },
      ExitedWithCode(7), " waited [0-9]+ s for rank 2 \\(on_failure.hang_timeout\\)");
}

TEST(WaitingNotes, NameTheSilentElseTheBusyElseThoseWhoWaitElsewhere) {
  const TemporaryDirectory directory;
  const auto note = [&](int rank) { return WaitingNotes(directory.path(), rank, 4); };
  const WaitingNotes mine = note(0);
  EXPECT_EQ(mine.missing("a"), "rank 1, rank 2, rank 3");
  EXPECT_TRUE(note(1).write(false, "a"));
  EXPECT_EQ(mine.missing("a"), "rank 2, rank 3");
  EXPECT_TRUE(note(2).write(true, "save: syncing f"));
  EXPECT_TRUE(note(3).write(false, "b"));
  EXPECT_FALSE(mine.everybody_wrote());
  EXPECT_TRUE(mine.write(false, "a"));
  EXPECT_TRUE(mine.everybody_wrote());
  EXPECT_EQ(mine.missing("a"), "rank 2 (save: syncing f)");
  EXPECT_TRUE(note(2).write(false, "a"));
  EXPECT_EQ(mine.missing("a"), "rank 3 (in b)");
  EXPECT_TRUE(note(3).write(false, "a"));
  EXPECT_EQ(mine.missing("a"), "");
  mine.remove();
  EXPECT_FALSE(mine.everybody_wrote());
  EXPECT_EQ(WaitingNotes().missing("a"), "");
  EXPECT_FALSE(WaitingNotes("/no/such/directory", 0, 2).write(false, "a"));
}

}  // namespace
}  // namespace tessera::test
