// SPDX-License-Identifier: Apache-2.0
// Which mpirun command line suits which machine.
#include "launch/job/local_job.h"

#include <cstdio>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/support/errors.h"

namespace tessera {
namespace {

using test::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

const std::vector<std::string> kProgram = {"/bin/tessera", "train", "a.yaml"};

Machine machine(int cores) {
  Machine machine;
  machine.threads = machine.cores = cores;
  machine.has_mpirun = true;
  return machine;
}

// Every job of one machine is told from where it can be reached, and how long its last ranks are
// waited for when one has died.
const std::string kAlways =
    "--mca btl self,vader --mca oob_tcp_if_include lo --mca odls_base_sigkill_timeout 0 ";

std::string line(const Machine& machine, int ranks) {
  std::string text = local_command(machine, ranks, kProgram).to_string();
  const size_t at = text.find(kAlways);
  return at == std::string::npos ? "kAlways is missing: " + text : text.erase(at, kAlways.size());
}

TEST(LocalCommand, BindsEachRankToItsGroupOfCores) {
  EXPECT_EQ(line(machine(2), 2),
            "mpirun -n 2 --map-by slot:PE=1 --bind-to core /bin/tessera train a.yaml");
  EXPECT_EQ(line(machine(128), 8),
            "mpirun -n 8 --map-by slot:PE=16 --bind-to core /bin/tessera train a.yaml");
  EXPECT_EQ(line(machine(7), 2),
            "mpirun -n 2 --map-by slot:PE=3 --bind-to core /bin/tessera train a.yaml");
}

TEST(LocalCommand, LeavesMoreRanksThanCoresUnboundAndLetsThemYield) {
  EXPECT_EQ(line(machine(2), 3),
            "mpirun -n 3 --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 "
            "/bin/tessera train a.yaml");
}

TEST(LocalCommand, LeavesTheNetworkThatTheUserChose) {
  Machine chosen = machine(2);
  chosen.network_chosen = true;
  EXPECT_EQ(local_command(chosen, 2, kProgram).to_string(),
            "mpirun -n 2 --map-by slot:PE=1 --bind-to core --mca odls_base_sigkill_timeout 0 "
            "/bin/tessera train a.yaml");
}

TEST(LocalCommand, CountsCoresNotHardwareThreads) {
  Machine paired = machine(4);
  paired.threads = 8;
  EXPECT_THAT(local_command(paired, 8, kProgram).words, testing::Contains("--oversubscribe"));
  EXPECT_THAT(local_command(paired, 4, kProgram).words, testing::Contains("slot:PE=1"));
  EXPECT_THAT(local_command(paired, 4, kProgram).environment,
              ElementsAre(Pair("OMP_NUM_THREADS", "2")));
}

TEST(LocalCommand, DoesNotBindWhereOnlySomeCoresMayBeUsed) {
  Machine part = machine(4);
  part.whole = false;
  EXPECT_EQ(line(part, 2), "mpirun -n 2 --bind-to none /bin/tessera train a.yaml");
}

TEST(LocalCommand, DividesTheThreadsAmongTheRanksAndGivesEachOne) {
  for (const auto& [ranks, threads] :
       {std::pair{1, "7"}, {2, "3"}, {3, "2"}, {7, "1"}, {8, "1"}, {100, "1"}})
    EXPECT_THAT(local_command(machine(7), ranks, kProgram).environment,
                ElementsAre(Pair("OMP_NUM_THREADS", threads)))
        << ranks << " ranks";
}

TEST(LocalCommand, KeepsTheThreadsThatTheUserChose) {
  Machine chosen = machine(4);
  chosen.threads_chosen = true;
  EXPECT_THAT(local_command(chosen, 2, kProgram).environment, IsEmpty());
}

TEST(LocalCommand, TellsMpirunThatRootMeansIt) {
  Machine as_root = machine(2);
  as_root.root = true;
  EXPECT_THAT(local_command(as_root, 2, kProgram).environment,
              ElementsAre(Pair("OMP_NUM_THREADS", "1"), Pair("OMPI_ALLOW_RUN_AS_ROOT", "1"),
                          Pair("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")));
}

TEST(LocalCommand, NamesThePackageWithoutMpirun) {
  Machine bare = machine(2);
  bare.has_mpirun = false;
  EXPECT_THAT(error_of([&] { local_command(bare, 2, kProgram); }),
              AllOf(HasSubstr("usage"), HasSubstr("openmpi-bin")));
}

TEST(LocalCommand, RefusesFewerRanksThanOne) {
  for (const int ranks : {0, -1})
    EXPECT_THAT(error_of([&] { local_command(machine(2), ranks, kProgram); }),
                AllOf(HasSubstr("usage"), HasSubstr("at least 1")));
}

TEST(LocalCommand, IsPrintedAsAShellReadsIt) {
  const LocalCommand command{.words = {"mpirun", "a b", "it's", "x=[1, 2]", ""},
                             .environment = {{"A", "1 2"}},
                             .note = ""};
  EXPECT_EQ(command.to_string(), "mpirun 'a b' 'it'\\''s' 'x=[1, 2]' ''");
  EXPECT_EQ(command.to_shell_line(), "A='1 2' mpirun 'a b' 'it'\\''s' 'x=[1, 2]' ''");
}

// Programs that stand in for mpirun.
int run_shell(const std::string& script, OnStop on_stop = OnStop::end) {
  return run_local({.words = {"/bin/sh", "-c", script}, .environment = {{"GIFT", "9"}}, .note = ""},
                   on_stop);
}

TEST(LocalJob, ReturnsTheExitCodeAndHandsOverTheEnvironment) {
  EXPECT_EQ(run_shell("exit 75"), 75);
  EXPECT_EQ(run_shell("exit $GIFT"), 9);
  EXPECT_EQ(run_shell("kill -KILL $$"), 128 + 9);
}

TEST(LocalJob, SaysWhatCannotBeStarted) {
  EXPECT_THAT(error_of([&] {
                run_local({.words = {"/no/such/mpirun"}, .environment = {}, .note = ""},
                          OnStop::end);
              }),
              AllOf(HasSubstr("usage"), HasSubstr("/no/such/mpirun")));
}

// $PPID of the script is this test.
TEST(LocalJob, PassesSignalsOn) {
  const std::string wait = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; done; exit 99";
  EXPECT_EQ(run_shell("trap 'exit 10' USR1; kill -USR1 $PPID; " + wait), 10);
  EXPECT_EQ(run_shell("trap 'exit 11' TERM; kill -TERM $PPID; " + wait), 11);
  EXPECT_EQ(run_shell("trap 'exit 1' INT; kill -INT $PPID; " + wait), 130)
      << "mpirun's 1 after a signal says nothing";
}

constexpr const char* kReady = "echo ready >\"$TESSERA_READY_FILE\"; ";
// The shell sleeps in pieces, so that it acts on a signal.
constexpr const char* kLong = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; done; exit 99";

TEST(LocalJob, TurnsARequestToStopIntoOneToSave) {
  for (const std::string signal : {"TERM", "HUP", "INT", "USR1"})
    EXPECT_EQ(run_shell(kReady + ("trap 'exit 75' USR1; kill -" + signal) + " $PPID; " + kLong,
                        OnStop::save),
              75)
        << signal;
}

TEST(LocalJob, HoldsTheRequestBackUntilTheRanksAreReady) {
  for (const std::string signal : {"TERM", "HUP", "USR1"})
    EXPECT_EQ(
        run_shell("kill -" + signal + " $PPID; sleep 0.3; trap 'exit 75' USR1; " + kReady + kLong,
                  OnStop::save),
        75)
        << "SIGUSR1 would have ended a rank without a handler, " << signal;
}

TEST(LocalJob, ASecondRequestEndsTheJob) {
  const auto twice = [](const std::string& second, const std::string& ready) {
    return run_shell(ready +
                         "trap '' USR1; trap 'exit 1' TERM INT; kill -TERM $PPID; sleep 0.5; "
                         "kill -" +
                         second + " $PPID; " + kLong,
                     OnStop::save);
  };
  EXPECT_EQ(twice("TERM", kReady), 143);
  EXPECT_EQ(twice("INT", kReady), 130);
  EXPECT_EQ(twice("HUP", kReady), 129);
  EXPECT_EQ(twice("TERM", ""), 143) << "also when the first one is still held back";
}

TEST(LocalJob, OneRequestMayComeTwiceAtOnce) {
  EXPECT_EQ(run_shell(std::string(kReady) +
                          "trap 'sleep 0.5; exit 75' USR1; kill -HUP $PPID; "
                          "kill -TERM $PPID; " +
                          kLong,
                      OnStop::save),
            75)
      << "a shell passes on the SIGHUP of its terminal";
  EXPECT_EQ(run_shell(std::string(kReady) +
                          "trap 'sleep 1; exit 75' USR1; kill -USR1 $PPID; "
                          "sleep 0.5; kill -USR1 $PPID; " +
                          kLong,
                      OnStop::save),
            75)
      << "Slurm may send SIGUSR1 more than once";
}

TEST(LocalJob, InterruptedBeforeItsRanksAreReadyItEnds) {
  EXPECT_EQ(run_shell(std::string("trap 'exit 1' INT; kill -INT $PPID; ") + kLong, OnStop::save),
            130);
}

TEST(LocalJob, AThirdRequestKillsAnMpirunThatDoesNotEnd) {
  EXPECT_EQ(run_shell(std::string("trap '' TERM USR1; ") + kReady +
                          "for i in 1 2 3; do kill -TERM $PPID; sleep 0.5; done; " + kLong,
                      OnStop::save),
            143);
}

// A reader who goes away would end mpirun, and with it the job.
TEST(LocalJob, GoesOnWithoutAReader) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int error = dup(STDERR_FILENO);
  dup2(ends[1], STDERR_FILENO);
  close(ends[0]);
  close(ends[1]);
  const int code =
      run_shell("for i in 1 2 3; do echo words >&2 || exit 1; sleep 0.1; done; exit 5");
  dup2(error, STDERR_FILENO);
  close(error);
  EXPECT_EQ(code, 5);
}

TEST(LocalJob, SaysThatItsOutputCouldNotBeWritten) {
  std::fflush(stdout);
  const int output = dup(STDOUT_FILENO), full = open("/dev/full", O_WRONLY);
  dup2(full, STDOUT_FILENO);
  close(full);
  const std::string told = error_of([] { run_shell("echo words; sleep 0.2"); });
  const int code = run_shell("echo words; exit 4");
  dup2(output, STDOUT_FILENO);
  close(output);
  EXPECT_THAT(told, AllOf(HasSubstr("storage"), HasSubstr("could not be written")));
  EXPECT_EQ(code, 4) << "a failure keeps its code";
}

}  // namespace
}  // namespace tessera
