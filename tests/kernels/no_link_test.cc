// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/no_link.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "kernels/base/log.h"
#include "tests/support/errors.h"
#include "tests/support/program.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using test::error_of;

class NoLinkTest : public testing::Test {
 protected:
  NoLinkTest() { std::ofstream(victim_) << "precious"; }
  TemporaryDirectory directory_;
  std::string victim_ = directory_ / "victim", path_ = directory_ / "metrics.jsonl";
};

TEST_F(NoLinkTest, AFileIsMadeAndAppendedTo) {
  for (const char* word : {"one", "two"})
    std::ofstream(NoLink(path_).name(), std::ios::app) << word;
  EXPECT_EQ(read_text(path_), "onetwo");
}

TEST_F(NoLinkTest, ALinkIsRefused) {
  fs::create_symlink(victim_, path_);
  const std::string said = error_of([&] { NoLink opened(path_); });
  EXPECT_TRUE(said.starts_with("storage: " + path_ + ": is a symbolic link")) << said;
  EXPECT_EQ(error_of([&] { log::open_file(path_); }), said);
  fs::remove(victim_);
  EXPECT_EQ(error_of([&] { NoLink opened(path_); }), said) << "also one that leads nowhere";
  EXPECT_FALSE(fs::exists(victim_));
}

// Whoever swaps the file for a link between the opening and the writing gains nothing.
TEST_F(NoLinkTest, WhatWasOpenedIsWrittenWhateverStandsThereLater) {
  const NoLink opened(path_);
  fs::rename(path_, directory_ / "moved");
  fs::create_symlink(victim_, path_);
  std::ofstream(opened.name(), std::ios::app) << "line";
  EXPECT_EQ(read_text(victim_), "precious");
  EXPECT_EQ(read_text(directory_ / "moved"), "line");
}

TEST_F(NoLinkTest, WhatIsNoFileIsRefusedAtOnce) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_TRUE(error_of([&] { NoLink opened(path_); }).starts_with("storage: "));
  EXPECT_TRUE(error_of([&] { NoLink opened(directory_.path()); }).starts_with("storage: "));
  EXPECT_TRUE(error_of([&] { NoLink opened(directory_ / "a/b"); }).starts_with("storage: "));
}

}  // namespace
}  // namespace tessera
