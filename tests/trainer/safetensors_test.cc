// SPDX-License-Identifier: Apache-2.0
#include "trainer/hub/safetensors.h"

#include <cstring>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/errors.h"
#include "tests/support/numeric.h"
#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::string file_of(const std::vector<NamedTensor>& tensors) {
  const TemporaryDirectory directory;
  write_safetensors(directory / "model.safetensors", tensors);
  std::ifstream in(directory / "model.safetensors", std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(Safetensors, TileTheBytesAfterAnAlignedHeader) {
  for (size_t length = 0; length < 8; ++length) {  // any length of header is padded
    const std::string name = "norm" + std::string(length, 'x');
    const std::vector<NamedTensor> tensors = {
        {"odd", converted(normal(DType::bf16, 3, 5, 1), kCpu, DType::bf16)},
        {name, Tensor(kCpu, DType::f32, {7})},
        {"wide", converted(normal(DType::f64, 2, 2, 2), kCpu, DType::f64)}};
    fill(cpu_stream(), 1.5, tensors[1].tensor);
    const std::string file = file_of(tensors);
    uint64_t header_length = 0;
    ASSERT_GT(file.size(), sizeof header_length);
    std::memcpy(&header_length, file.data(), sizeof header_length);
    EXPECT_EQ(header_length % 8, 0u);
    EXPECT_EQ(file[8], '{');
    const std::string text = file.substr(8, header_length);
    const auto header = nlohmann::json::parse(text);
    EXPECT_EQ(text.find_last_not_of(' '), text.rfind('}')) << "padded with spaces alone";
    EXPECT_EQ(header.size(), 4u);
    EXPECT_EQ(header["__metadata__"]["format"], "pt");
    EXPECT_EQ(header["odd"]["dtype"], "BF16");
    EXPECT_EQ(header["odd"]["shape"], (std::vector<int64_t>{3, 5}));
    EXPECT_EQ(header[name]["dtype"], "F32");
    EXPECT_EQ(header[name]["shape"], std::vector<int64_t>{7});
    EXPECT_EQ(header["wide"]["dtype"], "F64");
    const std::string data = file.substr(8 + header_length);
    size_t next = 0;
    for (const NamedTensor& entry : tensors) {
      const auto offsets = header[entry.name]["data_offsets"].get<std::vector<size_t>>();
      ASSERT_EQ(offsets.size(), 2u);
      EXPECT_EQ(offsets[0], next);
      next = offsets[1];
      ASSERT_LE(next, data.size());
      ASSERT_EQ(static_cast<int64_t>(next - offsets[0]), entry.tensor.bytes());
      EXPECT_EQ(std::memcmp(data.data() + offsets[0], entry.tensor.data(), next - offsets[0]), 0);
    }
    EXPECT_EQ(next, data.size());
  }
}

TEST(Safetensors, SayWhichFileCannotBeWritten) {
  EXPECT_THAT(error_of([] { write_safetensors("/nowhere/model.safetensors", {}); }),
              AllOf(StartsWith("storage"), HasSubstr("/nowhere/model.safetensors")));
}

}  // namespace
}  // namespace tessera::test
