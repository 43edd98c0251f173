// SPDX-License-Identifier: Apache-2.0
// People watch a run by files of whole records, here on a disk that is full for a while, and by a
// standard error, here one that nobody reads.
#include "kernels/base/record_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/log.h"
#include "kernels/base/standard_error.h"
#include "tests/support/captured_error.h"
#include "tests/support/errors.h"
#include "tests/support/full_disk.h"
#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

struct Records : testing::Test {
  TemporaryDirectory directory;
  const std::string path = directory / "records";
  std::string text() const {
    std::ostringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }
};

TEST_F(Records, FollowWhatIsThere) {
  std::ofstream(path) << "old\n";
  RecordFile file(path);
  EXPECT_TRUE(file.append("new\n"));
  EXPECT_EQ(text(), "old\nnew\n");
}

TEST_F(Records, ThatDoNotFitLeaveNothingAndTheNextOnesFollowTheLastWholeOne) {
  RecordFile file(path);
  ASSERT_TRUE(file.append("first\n"));
  {
    const FullDisk full(10);
    EXPECT_FALSE(file.append("second\n"));
    EXPECT_FALSE(file.append("third\n"));
    EXPECT_EQ(file.lost(), 2);
    EXPECT_NE(file.reason(), "");
    EXPECT_TRUE(file.append("4.\n")) << "there is room for a small one";
    EXPECT_FALSE(file.append("fifth\n"));
  }
  EXPECT_TRUE(file.append("sixth\n"));
  EXPECT_EQ(file.lost(), 0);
  EXPECT_EQ(text(), "first\n4.\nsixth\n");
}

// Whoever swaps the file for a link between the opening and the writing gains nothing.
TEST_F(Records, GoToTheFileThatWasOpenedWhateverStandsThereLater) {
  const std::string victim = directory / "victim", moved = directory / "moved";
  std::ofstream(victim) << "precious";
  RecordFile file(path);
  ASSERT_EQ(rename(path.c_str(), moved.c_str()), 0);
  ASSERT_EQ(symlink(victim.c_str(), path.c_str()), 0);
  EXPECT_TRUE(file.append("line"));
  EXPECT_EQ(text(), "precious");
  EXPECT_EQ(std::filesystem::file_size(moved), 4u);
}

TEST_F(Records, AreNotWrittenThroughLinksIntoFifosOrDirectories) {
  const std::string fifo = directory / "fifo", link = directory / "link";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  ASSERT_EQ(symlink(path.c_str(), link.c_str()), 0);
  for (const std::string& wrong : {fifo, link, directory.path(), directory / "none/records"})
    EXPECT_THAT(error_of([&] { RecordFile file(wrong); }),
                AllOf(HasSubstr("storage"), HasSubstr(wrong)));
}

TEST_F(Records, OfTheLogAreLinesAndTheConsoleTellsOnceThatTheyAreMissing) {
  const CapturedError error;
  log::open_file(path);
  log::info("first");
  {
    const FullDisk full(60);
    log::info("a line that is much longer than what is left of the disk's room");
    log::info("and another one");
  }
  log::info("last");
  const std::string console = error.read();
  log::open_file("/dev/null");
  EXPECT_THAT(console, AllOf(HasSubstr("warning: W061 " + path + " cannot be written: "),
                             HasSubstr("W061 " + path + " is written again; 2 lines are missing")));
  EXPECT_THAT(text(), AllOf(HasSubstr("first\n"), HasSubstr("info last\n"),
                            Not(HasSubstr("much longer")), Not(HasSubstr("another one"))));
}

TEST(StandardError, ThatNobodyReadsStopsNothing) {
  const CapturedError error;
  const std::string line(999, 'x');
  for (int i = 0; i < 200; ++i) to_standard_error(line + "\n");  // a pipe holds 65 of them
  EXPECT_THAT(error.read(), StartsWith(line));
  to_standard_error("again\n");
  EXPECT_THAT(error.read(), AllOf(HasSubstr("messages are left out here"), HasSubstr("\nagain\n")));
  to_standard_error("more\n");
  EXPECT_EQ(error.read(), "more\n");
}

TEST(StandardError, WithoutAReaderStopsNothing) {
  signal(SIGPIPE, SIG_IGN);
  CapturedError error;
  error.go_away();
  to_standard_error("words\n");
  SUCCEED();
}

}  // namespace
}  // namespace tessera::test
