// SPDX-License-Identifier: Apache-2.0
#include "trainer/tensorboard.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string hex(const std::string& bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char byte : bytes) {
    text += kDigits[static_cast<unsigned char>(byte) >> 4];
    text += kDigits[static_cast<unsigned char>(byte) & 15];
  }
  return text;
}

// Made by three independent writers of the format, which agree.
TEST(TensorBoard, WritesTheRecordsThatOthersWrite) {
  EXPECT_EQ(hex(tensorboard_version(1.7e9)),
            "1800000000000000a37f4b220900000040fc54d9411a0d627261696e2e4576656e743a32eced8f9d");
  EXPECT_EQ(hex(tensorboard_scalar(1.7e9 + 1.5, 300, "loss", 2.5f)),
            "1b000000000000001a0d9e130900006040fc54d94110ac022a0d0a0b0a046c6f737315000020402d6d"
            "4087");
}

// An event of step 101 (0x65) with a SessionLog (field 7) whose status (field 1) is START (1).
TEST(TensorBoard, TellsWhereARunGoesOn) {
  const std::string bytes = hex(tensorboard_start(1.7e9, 101));
  EXPECT_THAT(bytes, StartsWith("0f00000000000000"));
  EXPECT_THAT(bytes, HasSubstr("0900000040fc54d94110653a020801"));
}

TEST(TensorBoard, WritesAFileOfWholeRecordsThatBeginsWithTheVersion) {
  const TemporaryDirectory directory;
  {
    TensorBoardFile file(directory.path());
    file.on_start(6, "resume");
    StepReport report;
    report.step = 7;
    report.seconds = 1;
    file.on_step(report);
    file.on_eval({.step = 7, .loss = 1});
  }
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory.path()))
    paths.push_back(entry.path());
  ASSERT_EQ(paths.size(), 1u);
  EXPECT_THAT(paths[0].filename().string(), StartsWith("events.out.tfevents."));
  std::ifstream in(paths[0], std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string bytes = text.str();
  std::vector<std::string> payloads;
  size_t place = 0;
  while (place + 16 <= bytes.size()) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data() + place, sizeof length);
    ASSERT_LE(place + 16 + length, bytes.size());
    payloads.push_back(bytes.substr(place + 12, length));
    place += 16 + length;
  }
  EXPECT_EQ(place, bytes.size()) << "nothing after the last record";
  // The version, the start, five scalars of a step, one of an evaluation.
  ASSERT_EQ(payloads.size(), 8u);
  EXPECT_THAT(payloads[0], HasSubstr("brain.Event:2"));
  EXPECT_THAT(payloads[1], HasSubstr(std::string("\x10\x07\x3a\x02\x08\x01", 6)))
      << "step 7 and what follows is trained again";
  EXPECT_THAT(payloads[2], HasSubstr("train/loss"));
  EXPECT_THAT(payloads[7], HasSubstr("eval/loss"));
}

}  // namespace
}  // namespace tessera::test
