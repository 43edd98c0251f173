// SPDX-License-Identifier: Apache-2.0
// Files that are not what they were when they were opened, or never were files.
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/files.h"
#include "tests/support/errors.h"
#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::ExitedWithCode;
using testing::HasSubstr;
using testing::KilledBySignal;

constexpr size_t kBytes = 100000;

struct Mapping : testing::Test {
  TemporaryDirectory directory;
  std::string file(const std::string& name) const {
    std::ofstream(directory / name) << std::string(kBytes, 'x');
    return directory / name;
  }
};

int last_byte(const MappedFile& file) {
  return static_cast<volatile const char*>(file.bytes().data())[kBytes - 1];
}

TEST_F(Mapping, OfAFileThatBecomesShorterNamesItAndEndsAsBadData) {
  const std::string other = file("other.bin"), path = file("train.bin");
  EXPECT_EXIT(
      {
        const MappedFile second = MappedFile::open(other);
        MappedFile moved = MappedFile::open(path);
        const MappedFile mapped = std::move(moved);
        if (last_byte(mapped) != 'x' || truncate(path.c_str(), 10) != 0) _exit(1);
        _exit(last_byte(mapped) == 'x' ? 2 : 4);
      },
      ExitedWithCode(3), "error: .*train.bin: became shorter");
}

TEST_F(Mapping, ThatIsGoneIsNotBlamed) {
  const std::string path = file("train.bin");
  EXPECT_EXIT(
      {
        signal(SIGBUS, SIG_DFL);  // not a sanitizer's
        { const MappedFile gone = MappedFile::open(path); }
        raise(SIGBUS);
        raise(SIGBUS);
        _exit(1);
      },
      KilledBySignal(SIGBUS), "");
}

TEST_F(Mapping, OfAFifoOrADirectoryIsRefusedAtOnce) {
  const std::string fifo = directory / "fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, directory.path()})
    EXPECT_THAT(error_of([&] { MappedFile::open(path); }),
                AllOf(HasSubstr("data"), HasSubstr(path), HasSubstr("no regular file")));
}

}  // namespace
}  // namespace tessera::test
