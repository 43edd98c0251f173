// SPDX-License-Identifier: Apache-2.0
// The strict reader on the files of tests/golden/safetensors: made after the cases that the
// format's own tests accept (st_ok_*) and refuse (st_bad_*).
#include "checkpoint/safetensors.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace tessera::test {
namespace {

namespace fs = std::filesystem;
const std::string kFiles = std::string(TESSERA_SOURCE_DIR) + "/tests/golden/safetensors/";

TEST(SafetensorsFile, RefusesEveryUnsoundFileAndNamesIt) {
  PosixStorage storage;
  int files = 0;
  for (const auto& file : fs::directory_iterator(kFiles)) {
    const std::string name = file.path().filename().string();
    if (!name.starts_with("st_bad_")) continue;
    ++files;
    try {
      SafetensorsFile::open(storage, file.path().string());
      ADD_FAILURE() << name << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::checkpoint) << name;
      EXPECT_THAT(error.what(), testing::HasSubstr(name));
    }
  }
  EXPECT_EQ(files, 12);
}

TEST(SafetensorsFile, AcceptsEverySoundFile) {
  PosixStorage storage;
  int files = 0;
  for (const auto& file : fs::directory_iterator(kFiles)) {
    if (!file.path().filename().string().starts_with("st_ok_")) continue;
    ++files;
    EXPECT_NO_THROW(SafetensorsFile::open(storage, file.path().string())) << file.path();
  }
  EXPECT_EQ(files, 4);
}

TEST(SafetensorsFile, ReadsAnyBox) {
  PosixStorage storage;
  SafetensorsFile file = SafetensorsFile::open(
      storage, std::string(TESSERA_SOURCE_DIR) + "/tests/golden/llama_random/model.safetensors");
  const std::string name = "model.layers.0.mlp.up_proj.weight";
  const auto& entry = file.entries().at(name);
  ASSERT_EQ(entry.shape, (std::vector<int64_t>{56, 40}));
  const Tensor whole(Device{}, DType::f32, {56, 40}), part(Device{}, DType::f32, {3, 5});
  file.read(name, {.offset = {0, 0}, .extent = {56, 40}}, whole);
  file.read(name, {.offset = {7, 30}, .extent = {3, 5}}, part);
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 5; ++j)
      EXPECT_EQ(part.row<float>(i)[j], whole.row<float>(7 + i)[30 + j]);
}

}  // namespace
}  // namespace tessera::test
