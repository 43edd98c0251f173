// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/base/exact_sum.h"
#include "kernels/base/random.h"
#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "kernels/gemm.h"

namespace tessera {
namespace {

TEST(Check, SaysWhereAndWhat) {
  try {
    check(1 == 2, ErrorKind::data, "numbers differ:", 1, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "numbers differ: 1 2");
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_NE(std::strstr(error.where().file, "base_test.cc"), nullptr);
    EXPECT_EQ(exit_code(error.kind()), 3);
  }
}

TEST(Half, EveryF16SurvivesTheRoundTripThroughF32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const f16 value{static_cast<uint16_t>(bits)};
    const float wide = to_float(value);
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(to_float(to_f16(wide))));
      continue;
    }
    EXPECT_EQ(to_f16(wide).bits, value.bits);
  }
}

TEST(Half, EveryBf16AndF8SurvivesTheRoundTripThroughF32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bf16 value{static_cast<uint16_t>(bits)};
    if (std::isnan(to_float(value))) continue;
    EXPECT_EQ(to_bf16(to_float(value)).bits, value.bits);
  }
  for (uint32_t bits = 0; bits < 0x100; ++bits) {
    const f8_e4m3 value{static_cast<uint8_t>(bits)};
    if (std::isnan(to_float(value))) continue;
    EXPECT_EQ(to_f8_e4m3(to_float(value)).bits, value.bits);
  }
}

TEST(Half, RoundsTiesToEvenAndOverflowsAsIeee) {
  EXPECT_EQ(to_bf16(1.00390625f).bits, 0x3f80);  // 1 + 2^-8: tie, down to even
  EXPECT_EQ(to_bf16(1.01171875f).bits, 0x3f82);  // 1 + 3 * 2^-8: tie, up to even
  EXPECT_EQ(to_f16(65519.99f).bits, 0x7bff);     // largest finite
  EXPECT_EQ(to_f16(65520.0f).bits, 0x7c00);      // rounds to infinity
  EXPECT_EQ(to_f16(0x1p-25f).bits, 0x0000);      // tie between 0 and the smallest subnormal
  EXPECT_EQ(to_f16(0x1.8p-25f).bits, 0x0001);
  EXPECT_EQ(to_f8_e4m3(1000.0f).bits, 0x7e);  // saturates at 448
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Philox, GivesTheKnownAnswersOfThePaper) {
  // Random123's kat_vectors: philox4x32 10 rounds, counter and key all zero, all one.
  const auto zero = Philox{0, 0}.block(0);
  EXPECT_EQ(zero, (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const auto ones = Philox{~uint64_t{0}, ~uint64_t{0}}.block(~uint64_t{0});
  EXPECT_EQ(ones, (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Philox, NormalNumbersHaveMeanZeroAndDeviationOne) {
  const Philox philox{42, stream_named("a")};
  double sum = 0, squares = 0;
  constexpr int kDraws = 100000;
  for (int i = 0; i < kDraws; ++i) {
    const double draw = philox.normal(static_cast<uint64_t>(i));
    sum += draw;
    squares += draw * draw;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1, 0.02);
}

TEST(ExactSum, DoesNotDependOnOrderOrCuts) {
  const Philox philox{7, 7};
  std::vector<double> terms;
  for (uint64_t i = 0; i < 1000; ++i)
    terms.push_back(philox.normal(i) *
                    std::ldexp(1.0, static_cast<int>(philox.bits(i) % 200) - 100));
  ExactSum forward, left, right;
  for (const double term : terms) forward.add(term);
  for (size_t i = terms.size(); i-- > 0;) (i % 3 == 0 ? left : right).add(terms[i]);
  left.add(right);
  EXPECT_EQ(forward.round(), left.round());
}

TEST(ExactSum, CancelsWhereDoublesWouldNot) {
  ExactSum sum;
  for (const double term : {1e300, 1.0, -1e300, 0x1p-1074}) sum.add(term);
  EXPECT_EQ(sum.round(), 1.0);
  sum.add(-1.0);
  EXPECT_EQ(sum.round(), 0x1p-1074);
  sum.add(-1.0);
  EXPECT_EQ(sum.round(), -1.0);
  sum.add(std::numeric_limits<double>::infinity());
  EXPECT_FALSE(sum.finite());
  EXPECT_TRUE(std::isnan(sum.round()));
}

TEST(Tensor, SlicesShareElements) {
  const Tensor x(Device{}, DType::f32, {3, 4});
  for (int64_t i = 0; i < 12; ++i) x.as<float>()[i] = static_cast<float>(i);
  const Tensor columns = x.column_slice(1, 2).row_slice(1, 2);
  EXPECT_EQ(columns.rows(), 2);
  EXPECT_EQ(columns.columns(), 2);
  EXPECT_EQ(columns.pitch(), 4);
  EXPECT_EQ(columns.row<float>(1)[1], 10.0f);
  columns.row<float>(0)[0] = -1;
  EXPECT_EQ(x.row<float>(1)[1], -1.0f);
  EXPECT_THROW(columns.flat(), Error);
  EXPECT_THROW(x.row_slice(2, 2), Error);
}

TEST(Buffer, ReusesWhatWasFreed) {
  { const Tensor warm(Device{}, DType::f32, {1000}); }
  const int64_t before = memory_use().system_allocations;
  for (int i = 0; i < 10; ++i) const Tensor again(Device{}, DType::f32, {1000});
  EXPECT_EQ(memory_use().system_allocations, before);
}

TEST(DryDevice, CountsMemoryThatIsNotThere) {
  const Device dry{Device::Kind::dry};
  const auto gradients = static_cast<size_t>(MemoryClass::gradients);
  const MemoryUse before = memory_use(dry), host = memory_use();
  {
    constexpr int64_t kTebi = int64_t{1} << 40;
    const Tensor huge(dry, DType::f32, {kTebi / 4}, MemoryClass::gradients);
    const Tensor small(dry, DType::f32, {3}, MemoryClass::gradients);
    EXPECT_NE(huge.data(), small.data());
    EXPECT_EQ(memory_use(dry).now[gradients] - before.now[gradients], kTebi + 64);
    EXPECT_EQ(memory_use().now, host.now) << "the host has none of it";
  }
  EXPECT_EQ(memory_use(dry).now, before.now);
  EXPECT_GE(memory_use(dry).peak[gradients], int64_t{1} << 40);
  restart_peaks(dry);
  EXPECT_EQ(memory_use(dry).peak, before.now);
}

TEST(DryDevice, ComputesNothingButChecksEverything) {
  Stream stream{Device{Device::Kind::dry}};
  const Tensor a(stream.device(), DType::bf16, {1 << 20, 1 << 16});
  const Tensor b(stream.device(), DType::bf16, {1 << 16, 1 << 20});
  const Tensor c(stream.device(), DType::bf16, {1 << 20, 1 << 20});
  gemm(stream, {.a = a, .b = b, .c = c});
  EXPECT_THROW(gemm(stream, {.a = a, .b = a, .c = c}), Error);
  EXPECT_THROW(gemm(stream, {.a = Tensor(Device{}, DType::bf16, {1, 1}), .b = a, .c = c}), Error)
      << "a tensor of the host";
}

TEST(DryDevice, EndsWhoeverReadsATensor) {
  const Tensor x(Device{Device::Kind::dry}, DType::f32, {1});
  EXPECT_DEATH(x.as<float>()[0] += 1, "");
}

}  // namespace
}  // namespace tessera
