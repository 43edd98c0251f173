// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/reduction_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cpu_path.h"
#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::StartsWith;

float sum_of(const std::vector<float>& parts) {
  std::vector<const void*> pointers;
  for (const float& part : parts) pointers.push_back(&part);
  float out = 0;
  reduce_tree(pointers, DType::f32, &out, DType::f32, 1, Reduce::sum);
  return out;
}

// 2^24 + 1 rounds to 2^24 in f32, so the sums below tell in which order they were made.
constexpr float kBig = 0x1p24f;

TEST(ReductionTree, OfThreePartsAddsTheFirstTwoFirst) {
  EXPECT_EQ(sum_of({1, kBig, -kBig}), 0);  // (1 + big) + -big; from the right it would be 1
  EXPECT_EQ(sum_of({kBig, -kBig, 1}), 1);
}

TEST(ReductionTree, OfFiveAddsPairsAndCarriesTheFifth) {
  // ((r0 + r1) + (r2 + r3)) + r4
  EXPECT_EQ(sum_of({kBig, 1, 1, -kBig, 1}), 2);  // (big + (1 - big)) + 1; in rank order: 1
  EXPECT_EQ(sum_of({1, 1, kBig, 1, -kBig}), 2);  // (2 + big) - big; pairing the last two: 3
  EXPECT_EQ(sum_of({kBig, 1, 1, 1, -kBig}), 2);  // (big + 2) - big; in rank order: 0
}

TEST(ReductionTree, OfEightAddsTheHalvesLast) {
  EXPECT_EQ(sum_of({kBig, 0, 0, 0, 1, 0, 1, -kBig}), 2);  // big + (1 + (1 - big)); serially: 0
  EXPECT_EQ(sum_of({1, 0, 1, 0, 0, 0, kBig, 0}), kBig + 2);
}

TEST(ReductionTree, RoundsNarrowPartsOnceAtTheEnd) {
  // 256 has a bf16 step of 2: adding 1 four times in bf16 stays at 256, in f32 it is 260.
  const std::vector<bf16> parts = {to_bf16(256), to_bf16(1), to_bf16(1), to_bf16(1), to_bf16(1)};
  std::vector<const void*> pointers;
  for (const bf16& part : parts) pointers.push_back(&part);
  bf16 rounded{};
  reduce_tree(pointers, DType::bf16, &rounded, DType::bf16, 1, Reduce::sum);
  EXPECT_EQ(to_float(rounded), 260);
  pointers.pop_back();
  float exact = 0;
  reduce_tree(pointers, DType::bf16, &exact, DType::f32, 1, Reduce::sum);
  EXPECT_EQ(exact, 259) << "not representable in bf16";
}

TEST(ReductionTree, KeepsF16PartialSumsThatF16CannotHold) {
  const std::vector<f16> parts = {to_f16(60000), to_f16(60000), to_f16(-60000), to_f16(-40000)};
  std::vector<const void*> pointers;
  for (const f16& part : parts) pointers.push_back(&part);
  f16 out{};
  reduce_tree(pointers, DType::f16, &out, DType::f16, 1, Reduce::sum);
  EXPECT_EQ(to_float(out), 20000);
}

TEST(ReductionTree, WritesOverAPartAndGivesTheSameBitsForAnyThreads) {
  constexpr int64_t kCount = 200003;  // several blocks for several threads, and a rest
  std::vector<std::vector<float>> parts(3, std::vector<float>(kCount));
  for (size_t part = 0; part < 3; ++part)
    for (size_t i = 0; i < kCount; ++i)
      parts[part][i] = static_cast<float>((i * 7919 + part * 104729) % 1000) / 7;
  std::vector<float> expected(kCount);
  for (size_t i = 0; i < kCount; ++i) expected[i] = (parts[0][i] + parts[1][i]) + parts[2][i];
  const int before = cpu_threads();
  for (const int threads : {1, 2, 3}) {
    set_cpu_threads(threads);
    std::vector<std::vector<float>> copies = parts;
    reduce_tree({copies[0].data(), copies[1].data(), copies[2].data()}, DType::f32,
                copies[1].data(), DType::f32, kCount, Reduce::sum);
    EXPECT_TRUE(copies[1] == expected) << threads << " threads";
  }
  set_cpu_threads(before);
}

TEST(ReductionTree, TakesMaximaAndMinimaOfWholeNumbersExactly) {
  const int64_t a = (int64_t{1} << 60) + 1, b = (int64_t{1} << 60) + 2, c = -5;
  int64_t out = 0;
  reduce_tree({&a, &b, &c}, DType::i64, &out, DType::i64, 1, Reduce::max);
  EXPECT_EQ(out, b);
  reduce_tree({&a, &b, &c}, DType::i64, &out, DType::i64, 1, Reduce::min);
  EXPECT_EQ(out, c);
}

TEST(ReductionTree, RefusesToRoundIntoAnotherNarrowType) {
  const bf16 part{};
  f16 out{};
  EXPECT_THAT(
      error_of([&] { reduce_tree({&part}, DType::bf16, &out, DType::f16, 1, Reduce::sum); }),
      StartsWith("internal"));
}

}  // namespace
}  // namespace tessera::test
