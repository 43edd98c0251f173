// SPDX-License-Identifier: Apache-2.0
#include "data/identity.h"

#include <chrono>
#include <filesystem>

#include <gtest/gtest.h>

#include "tests/support/temporary.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

class Identity : public testing::Test {
 protected:
  TokenFile written(const std::vector<int32_t>& tokens) {
    TokenFileWriter writer(prefix_, 300);
    writer.add(tokens);
    writer.end_document();
    writer.finish({});
    return TokenFile::open(prefix_);
  }
  TemporaryDirectory directory_;
  std::string prefix_ = directory_ / "train";
};

TEST_F(Identity, FollowsFromTheTokensAlone) {
  const std::string first = identity_of(written({1, 2, 3}));
  EXPECT_TRUE(first.starts_with("sha256:")) << first;
  EXPECT_TRUE(first.ends_with(" 6")) << first;
  EXPECT_EQ(identity_of(written({1, 2, 3})), first);
  EXPECT_FALSE(may_be_equal(identity_of(written({1, 2, 4})), first));
  EXPECT_FALSE(may_be_equal(identity_of(written({1, 2, 3, 4})), first));
  EXPECT_EQ(brief_identity(first), first.substr(0, 23) + " (6 bytes)");
}

TEST_F(Identity, IsTheSizeWhereNoHashIsRecorded) {
  const std::string hashed = identity_of(written({1, 2, 3}));
  fs::remove(prefix_ + ".json");
  const std::string bare = identity_of(TokenFile::open(prefix_));
  EXPECT_EQ(bare, "6");
  EXPECT_TRUE(may_be_equal(bare, hashed));
  EXPECT_FALSE(may_be_equal("8", hashed));
  EXPECT_EQ(brief_identity(bare), "6 bytes without a hash");
}

TEST_F(Identity, AFileThatWasWrittenAfterItsHashIsDoubted) {
  EXPECT_EQ(doubt_about(written({1, 2, 3})), "");
  fs::last_write_time(prefix_ + ".bin",
                      fs::last_write_time(prefix_ + ".json") + std::chrono::minutes(1));
  EXPECT_NE(doubt_about(TokenFile::open(prefix_)).find("tessera data verify " + prefix_),
            std::string::npos);
  fs::remove(prefix_ + ".json");
  EXPECT_EQ(doubt_about(TokenFile::open(prefix_)), "") << "there is no hash to doubt";
}

}  // namespace
}  // namespace tessera
