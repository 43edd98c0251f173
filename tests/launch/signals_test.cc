// SPDX-License-Identifier: Apache-2.0
// Some signals are kept as requests, others end the process, each with its code.
#include "launch/job/signals.h"

#include <cerrno>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

namespace tessera {
namespace {

using testing::ExitedWithCode;
using testing::KilledBySignal;

void wait_milliseconds(long time) {
  struct timespec rest = {time / 1000, time % 1000 * 1'000'000};
  while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
  }
}

class StopSignals : public testing::TestWithParam<int> {};

TEST_P(StopSignals, AreKeptAndTheSecondEndsTheProcess) {
  EXPECT_EXIT(
      {
        hold_stop_signals();
        if (stop_signalled()) _exit(1);
        raise(GetParam());
        raise(GetParam());  // the same request
        if (!stop_signalled() || first_stop_signal() != GetParam()) _exit(2);
        wait_milliseconds(300);
        raise(SIGTERM);
        _exit(3);
      },
      ExitedWithCode(128 + SIGTERM), "");
}

TEST_P(StopSignals, AreLeftToThoseWhoHaveNothingToSave) {
  EXPECT_EXIT(
      {
        hold_stop_signals();
        release_stop_signals();
        raise(GetParam());
        _exit(1);
      },
      KilledBySignal(GetParam()), "");
  EXPECT_EXIT(
      {
        hold_stop_signals();
        raise(GetParam());
        release_stop_signals();
        _exit(1);
      },
      KilledBySignal(GetParam()), "")
      << "what came meanwhile is not lost";
}

TEST_P(StopSignals, StayIgnoredWhereTheParentIgnoresThem) {
  EXPECT_EXIT(
      {
        signal(GetParam(), SIG_IGN);
        hold_stop_signals();
        raise(GetParam());
        _exit(stop_signalled() ? 1 : 0);
      },
      ExitedWithCode(0), "");
}

INSTANTIATE_TEST_SUITE_P(Each, StopSignals, testing::Values(SIGINT, SIGTERM, SIGHUP, SIGUSR1));

TEST(Output, WithoutAReaderIsNoReasonToEnd) {
  EXPECT_EXIT(
      {
        hold_stop_signals();
        int ends[2];
        if (pipe(ends) != 0) _exit(1);
        close(ends[0]);
        _exit(write(ends[1], "x", 1) < 0 && errno == EPIPE ? 0 : 2);
      },
      ExitedWithCode(0), "");
}

TEST(Output, OfAClosedDescriptorDoesNotGoIntoTheNextFile) {
  EXPECT_EXIT(
      {
        close(STDIN_FILENO);
        close(STDOUT_FILENO);
        close(STDERR_FILENO);
        hold_stop_signals();
        struct stat facts;
        for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
          if (fstat(fd, &facts) != 0) _exit(1);
        if (write(STDOUT_FILENO, "x", 1) >= 0) _exit(2);  // must not look like success
        _exit(0);
      },
      ExitedWithCode(0), "");
}

}  // namespace
}  // namespace tessera
