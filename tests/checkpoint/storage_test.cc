// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/storage.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/writer.h"
#include "kernels/base/check.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

class Posix : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  template <typename Work>
  static std::string message_of(ErrorKind kind, Work&& work) {
    try {
      work();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      return error.what();
    }
    return "no error";
  }
  TemporaryDirectory directory_;
  PosixStorage storage_;
};

// A file size limit of the process for as long as the object lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

TEST_F(Posix, WritesAtOffsetsAndReadsRanges) {
  const auto file = storage_.create(path("a"));
  file->allocate(100);
  file->write(90, "0123456789", 10);
  file->write(0, "abc", 3);
  file->sync();
  file->close();
  const auto in = storage_.open(path("a"));
  EXPECT_EQ(in->size(), 100);
  std::string text(5, '?');
  in->read(88, text.data(), 5);
  EXPECT_EQ(text, std::string(2, '\0') + "012");
}

TEST_F(Posix, MakesParentsAndListsSorted) {
  make_directories(storage_, path("x/y/z"));
  write_file(storage_, path("x/b"), "2");
  write_file(storage_, path("x/a"), "1");
  EXPECT_EQ(storage_.list(path("x")), (std::vector<std::string>{"a", "b", "y"}));
  storage_.rename(path("x/a"), path("x/c"));
  EXPECT_FALSE(storage_.exists(path("x/a")));
  EXPECT_EQ(read_file(storage_, path("x/c"), 10), "1");
  storage_.sync_directory(path("x"));
}

TEST_F(Posix, ErrorsNameThePathAndTheSystemsWords) {
  const std::string missing = message_of(ErrorKind::storage, [&] { storage_.open(path("no")); });
  EXPECT_NE(missing.find(path("no")), std::string::npos) << missing;
  EXPECT_NE(missing.find("No such file or directory (errno 2)"), std::string::npos) << missing;
  write_file(storage_, path("a"), "text");
  EXPECT_NE(message_of(ErrorKind::storage, [&] { storage_.create(path("a")); }).find("exists"),
            std::string::npos);
  message_of(ErrorKind::checkpoint, [&] { read_file(storage_, path("a"), 3); });
  char buffer[8];
  const auto in = storage_.open(path("a"));
  EXPECT_NE(message_of(ErrorKind::checkpoint, [&] { in->read(2, buffer, 8); })
                .find("it ends at byte 4 but should go on to byte 10"),
            std::string::npos);
}

TEST_F(Posix, FollowsNoLinkWhenCreatingAndBlocksOnNoPipe) {
  std::filesystem::create_symlink(path("target"), path("link"));
  message_of(ErrorKind::storage, [&] { storage_.create(path("link")); });
  EXPECT_FALSE(storage_.exists(path("target")));
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_NE(message_of(ErrorKind::checkpoint, [&] { storage_.open(path("pipe")); })
                .find("not a regular file"),
            std::string::npos);
}

TEST_F(Posix, AFileSizeLimitIsAnErrorNotASignal) {
  const FileSizeLimit limit(8192);
  const auto file = storage_.create(path("a"));
  EXPECT_NE(message_of(ErrorKind::storage, [&] { file->allocate(1 << 20); }).find("ulimit -f"),
            std::string::npos);
  const std::string data(1 << 16, 'x');
  message_of(ErrorKind::storage, [&] { file->write(0, data.data(), 1 << 16); });
}

TEST_F(Posix, ASaveThatMeetsALimitFailsAsAWholeAndLeavesNothing) {
  State state;
  state.entries.push_back(filled_entry("w", "param", DType::f32, ShardSpec::whole({1 << 16})));
  run_ranks(1, [&](Communicator& world) {
    save_checkpoint(storage_, world, directory_.checkpoints(), save_info(1), state);
    const FileSizeLimit limit(1 << 16);
    EXPECT_NE(message_of(ErrorKind::storage,
                         [&] {
                           save_checkpoint(storage_, world, directory_.checkpoints(), save_info(2),
                                           state);
                         })
                  .find("ulimit -f"),
              std::string::npos);
  });
  EXPECT_EQ(storage_.list(directory_.checkpoints()), std::vector<std::string>{"step-00000001"});
}

}  // namespace
}  // namespace tessera
