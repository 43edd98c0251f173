// SPDX-License-Identifier: Apache-2.0
// A read that the storage fails now is told apart from damage.
#include <cerrno>

#include <gtest/gtest.h>

#include "checkpoint/reader.h"
#include "kernels/base/check.h"
#include "tests/support/errors.h"
#include "tests/support/faulty_storage.h"
#include "tests/support/lines.h"

namespace tessera {
namespace {

TEST(Unreadable, IsNoDamage) {
  FaultyStorage storage;
  save_of(storage, "c", 0, -1, 1);
  CheckpointReader reader = CheckpointReader::open(storage, "c/step-00000001");
  storage.fail_reads(EIO);
  std::vector<std::string> unreadable;
  EXPECT_TRUE(reader.find_damage({}, &unreadable).empty());
  ASSERT_FALSE(unreadable.empty());
  EXPECT_NE(unreadable.front().find("rank-0000.h5"), std::string::npos) << unreadable.front();
  EXPECT_TRUE(test::error_of([&] { reader.verify_all(); }).starts_with("storage: "));
  storage.fail_reads(0);
  unreadable.clear();
  EXPECT_TRUE(reader.find_damage({}, &unreadable).empty());
  EXPECT_TRUE(unreadable.empty()) << unreadable.front();
}

}  // namespace
}  // namespace tessera
