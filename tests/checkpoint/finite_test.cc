// SPDX-License-Identifier: Apache-2.0
// The scan finds one bad number in any place, and takes nothing finite for bad.
#include "checkpoint/finite.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "checkpoint/checksum.h"
#include "checkpoint/retention.h"
#include "kernels/base/check.h"
#include "tests/support/checkpoint_states.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

struct Bits {
  DType dtype;
  uint64_t largest;               // finite
  std::vector<uint64_t> strange;  // infinities and NaN, with and without sign
};

const std::vector<Bits> kBits = {
    {DType::f64, 0x7fefffffffffffff, {0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000001}},
    {DType::f32, 0x7f7fffff, {0x7f800000, 0xff800000, 0x7fc00000, 0xff800001}},
    {DType::bf16, 0x7f7f, {0x7f80, 0xff80, 0x7fc0, 0xffff}},
    {DType::f16, 0x7bff, {0x7c00, 0xfc00, 0x7e00, 0xffff}},
    {DType::f8_e4m3, 0x7e, {0x7f, 0xff}}};

bool is_finite(const std::vector<char>& bytes, DType dtype) {
  bool finite = true;
  const auto size = static_cast<int64_t>(bytes.size());
  EXPECT_EQ(crc32c_finite(bytes.data(), size, dtype, finite), crc32c(bytes.data(), size));
  return finite;
}

TEST(Finite, FindsOneBadNumberInAnyPlace) {
  for (const auto& [dtype, largest, strange] : kBits) {
    const auto width = static_cast<size_t>(size_of(dtype));
    for (const size_t count : {1u, 7u, 33u, 8192u + 5u}) {
      std::vector<char> bytes(count * width);
      const uint64_t sign = uint64_t{1} << (8 * width - 1);
      for (size_t i = 0; i < count; ++i) {
        const uint64_t value = i % 2 == 0 ? largest : largest | sign;
        std::memcpy(&bytes[i * width], &value, width);
      }
      EXPECT_TRUE(is_finite(bytes, dtype)) << name(dtype) << " " << count;
      for (const size_t place : {size_t{0}, count / 2, count - 1})
        for (const uint64_t bad : strange) {
          std::vector<char> spoilt = bytes;
          std::memcpy(&spoilt[place * width], &bad, width);
          EXPECT_FALSE(is_finite(spoilt, dtype)) << name(dtype) << " " << place << " of " << count;
        }
    }
  }
}

TEST(Finite, IntegersAlwaysAre) {
  EXPECT_TRUE(is_finite(std::vector<char>(64, '\x7f'), DType::i32));
  EXPECT_TRUE(is_finite(std::vector<char>(64, '\xff'), DType::i64));
}

TEST(Finite, ASaveIsRefusedByAllRanksWithTheTensorAndTheRank) {
  const TemporaryDirectory directory;
  PosixStorage storage;
  const auto save = [&](int64_t step, float bad) {
    std::vector<std::string> messages(2);
    run_ranks(2, [&](Communicator& world) {
      const ShardSpec half = ShardSpec::whole({2000}).split(0, world.rank(), 2);
      State state;
      for (const char* name : {"first", "second"}) {
        state.entries.push_back(blank_entry(name, "exp_avg", DType::f32, half));
        std::memset(state.entries.back().tensor.data(), 0, 4000);
      }
      if (world.rank() == 1) state.entries[1].tensor.as<float>()[999] = bad;
      SaveInfo info = save_info(step);
      info.finite = true;
      try {
        save_checkpoint(storage, world, directory.checkpoints(), info, state);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::numeric);
        messages[static_cast<size_t>(world.rank())] = error.what();
      }
    });
    EXPECT_EQ(messages[0], messages[1]);
    return messages[0];
  };
  EXPECT_EQ(save(1, 1.0F), "");
  const std::string refused = save(2, std::numeric_limits<float>::quiet_NaN());
  EXPECT_NE(refused.find("tensor second (exp_avg) is not finite"), std::string::npos) << refused;
  EXPECT_NE(refused.find("(rank 1)"), std::string::npos) << refused;
  EXPECT_EQ(committed_steps(storage, directory.checkpoints()), std::vector<int64_t>{1});
  EXPECT_EQ(storage.list(directory.checkpoints()), std::vector<std::string>{"step-00000001"});
}

}  // namespace
}  // namespace tessera
