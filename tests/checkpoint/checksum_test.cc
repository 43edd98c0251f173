// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checksum.h"

#include <string>

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Checksum, IsTheCastagnoliPolynomialOfRfc3720) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(hex(0x00fe1209u), "00fe1209");
}

TEST(Checksum, GoesOnWhereItStopped) {
  const std::string text = "a checkpoint is a promise";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const uint32_t first = crc32c(text.substr(0, cut));
    const std::string rest = text.substr(cut);
    const auto bytes = static_cast<int64_t>(rest.size());
    EXPECT_EQ(crc32c(rest.data(), bytes, first), crc32c(text));
    EXPECT_EQ(crc32c_joined(first, crc32c(rest), bytes), crc32c(text));
  }
}

TEST(Checksum, NoticesEverySingleBit) {
  std::string text(300, 'x');
  const uint32_t good = crc32c(text);
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    text[bit / 8] ^= static_cast<char>(1 << bit % 8);
    EXPECT_NE(crc32c(text), good);
    text[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
}

}  // namespace
}  // namespace tessera
