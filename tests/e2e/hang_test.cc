// SPDX-License-Identifier: Apache-2.0
// A rank that stands still is named, whatever the transport; one that slept accuses nobody.
#include "tests/support/workshop.h"

namespace tessera {
namespace {

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

const Words kLong = {"run.steps=100000", "checkpoint.every=0", "run.log_every=1000"};

TEST(Hang, OverMpiTheStoppedRankIsNamedToo) {
  Words words = kLong;
  words.push_back("on_failure.hang_timeout=4s");
  words.push_back("batch.global=12");
  Program job(Workshop::train_words(3, "stopped", words),
              workshop().options({{"TESSERA_TRANSPORT", "mpi"}}));
  ASSERT_TRUE(workshop().wait_for_step(job, "stopped", 3)) << job.err();
  const std::vector<pid_t> ranks = job.children();
  ASSERT_EQ(ranks.size(), 3u);
  ::kill(ranks[1], SIGSTOP);
  const ProgramResult stopped = job.wait(120);
  EXPECT_EQ(stopped.exit_code, 7) << stopped.err;
  EXPECT_NE(stopped.err.find(" s for rank 1 (on_failure.hang_timeout)"), std::string::npos)
      << stopped.err;
  EXPECT_NE(stopped.err.find(": step "), std::string::npos) << stopped.err;
  EXPECT_EQ(stopped.err.find("rank 1: step"), std::string::npos)
      << "woken by mpirun, it must not accuse the others: " << stopped.err;
}

// The data file is cut while it is mapped.
TEST(Hang, OfADataFileCutInMidRunIsNone) {
  std::filesystem::copy(workshop() / "corpus", workshop() / "cut",
                        std::filesystem::copy_options::recursive);
  Words words = kLong;
  words.push_back("data.train=cut/train");
  Program job(Workshop::train_words(2, "cut-run", words), workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "cut-run", 3)) << job.err();
  std::filesystem::resize_file(workshop() / "cut/train.bin", 0);
  const ProgramResult ended = job.wait(120);
  EXPECT_EQ(ended.exit_code, 3) << ended.err;
  EXPECT_NE(ended.err.find("error: cut/train.bin: became shorter"), std::string::npos) << ended.err;
}

}  // namespace
}  // namespace tessera
