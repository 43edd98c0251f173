// SPDX-License-Identifier: Apache-2.0
// Nothing outside a directory of checkpoints, and nothing in it that is not ours, is ever deleted
// or written.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/line.h"
#include "checkpoint/retention.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "tests/support/errors.h"
#include "tests/support/lines.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class OthersFiles : public testing::Test {
 protected:
  OthersFiles() {
    log::set_console(log::Level::error, false);
    for (const int64_t step : {1, 2, 3}) save_of(storage_, root_, 0, -1, step);
    fs::create_directory(victim_);
    for (const char* name : {"id_rsa", "COMMIT", "manifest.json"})
      std::ofstream(victim_ + "/" + name) << "precious";
  }
  void expect_victim_is_whole() const {
    for (const char* name : {"id_rsa", "COMMIT", "manifest.json"})
      EXPECT_TRUE(fs::exists(victim_ + "/" + name)) << name;
  }
  TemporaryDirectory directory_;
  std::string root_ = directory_.checkpoints(), victim_ = directory_.path() + "/victim";
  PosixStorage storage_;
};

TEST_F(OthersFiles, LinksToOtherDirectoriesAreNotFollowed) {
  fs::remove_all(root_ + "/step-00000002");
  for (const char* name :
       {".tmp-evil", ".trash-evil", ".tmp-step-00000009.0123456789abcdef",
        ".trash-step-00000009.0123456789abcdef", "step-00000002", "step-00000008"})
    fs::create_symlink("../victim", root_ + "/" + name);
  apply_retention(storage_, root_, {.last = 1});
  save_of(storage_, root_, 0, -1, 4);
  expect_victim_is_whole();
  EXPECT_THAT(committed_steps(storage_, root_), ElementsAre(3, 4));
}

TEST_F(OthersFiles, AStepThatIsALinkIsSetAsideNotSavedInto) {
  fs::create_symlink("../victim", root_ + "/step-00000004");
  save_of(storage_, root_, 1, 3, 4);
  expect_victim_is_whole();
  EXPECT_THAT(committed_steps(storage_, root_), ElementsAre(1, 2, 3, 4));
}

TEST_F(OthersFiles, DirectoriesThatOnlyBeginLikeOursStay) {
  for (const char* name :
       {".tmp-build", ".trash-me", ".tmp-step-00000007", ".tmp-step-00000007.abc",
        ".tmp-step-00000007.0123456789abcdef.old", ".tmp-step-7.0123456789abcdef",
        ".tmp-step-00000007.00.0123456789abcdef", "quarantine"}) {
    fs::create_directory(root_ + "/" + name);
    std::ofstream(root_ + "/" + name + "/COMMIT") << "precious";
  }
  EXPECT_EQ(apply_retention(storage_, root_, {}).swept, 0);
  EXPECT_EQ(empty_quarantine(storage_, root_, ""), 0);
  EXPECT_TRUE(fs::exists(root_ + "/quarantine/COMMIT"));
  EXPECT_TRUE(fs::exists(root_ + "/.tmp-build/COMMIT"));
}

TEST_F(OthersFiles, AStepThatHoldsAForeignFileIsLeftAsItIs) {
  std::ofstream(root_ + "/step-00000001/notes.txt") << "why this one matters";
  EXPECT_THAT(test::error_of([&] { apply_retention(storage_, root_, {.last = 1}); }),
              HasSubstr("step-00000001: is left alone, for it holds `notes.txt`"));
  EXPECT_TRUE(fs::exists(root_ + "/step-00000001/COMMIT"));
}

TEST_F(OthersFiles, AQuarantineThatIsALinkIsNotEmptied) {
  fs::create_directory(victim_ + "/step-00000001.damaged");
  std::ofstream(victim_ + "/step-00000001.damaged/COMMIT") << "precious";
  fs::create_symlink("../victim", root_ + "/quarantine");
  EXPECT_EQ(empty_quarantine(storage_, root_, ""), 0);
  EXPECT_THAT(test::error_of([&] { quarantine(storage_, root_, "step-00000001", "abandoned"); }),
              HasSubstr("is not a directory"));
  EXPECT_TRUE(fs::exists(victim_ + "/step-00000001.damaged/COMMIT"));
}

}  // namespace
}  // namespace tessera
