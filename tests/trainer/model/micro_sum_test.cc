// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/micro_sum.h"

#include <gtest/gtest.h>

#include "kernels/copy.h"
#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

// Summands whose sum in f32 depends on the order.
std::vector<float> summands(int count) {
  const Philox philox{3, 0};
  std::vector<float> all;
  for (int i = 0; i < count; ++i)
    all.push_back(static_cast<float>(philox.normal(static_cast<uint64_t>(i))));
  return all;
}

float sum_of(const std::vector<float>& values, bool as_tree) {
  const Tensor target(kCpu, DType::f32, {1, 1});
  fill(cpu_stream(), 0, target);
  MicroSum sum(target, as_tree);
  for (const float value : values) {
    const Tensor one(kCpu, DType::f32, {1, 1});
    *one.as<float>() = value;
    sum.add(cpu_stream(), one);
  }
  sum.finish(cpu_stream());
  return *target.as<float>();
}

float pairwise(const float* first, int count) {
  if (count == 1) return *first;
  return pairwise(first, count / 2) + pairwise(first + count / 2, count / 2);
}

TEST(MicroSum, AddsInTurnOrAsATree) {
  for (const int count : {1, 2, 4, 16, 64}) {
    const std::vector<float> values = summands(count);
    float in_turn = 0;
    for (const float value : values) in_turn += value;
    EXPECT_EQ(sum_of(values, false), in_turn) << count;
    EXPECT_EQ(sum_of(values, true), pairwise(values.data(), count)) << count;
  }
  EXPECT_NE(sum_of(summands(64), true), sum_of(summands(64), false)) << "the orders do differ";
}

TEST(MicroSum, GivesTheSameTreeWhenPairsWereAddedBefore) {
  const std::vector<float> values = summands(32);
  std::vector<float> pairs;
  for (size_t i = 0; i < values.size(); i += 2) pairs.push_back(values[i] + values[i + 1]);
  EXPECT_EQ(sum_of(values, true), sum_of(pairs, true));
}

TEST(MicroSum, LosesNothingOfANumberThatIsNoPowerOfTwo) {
  EXPECT_FLOAT_EQ(sum_of({1, 2, 4, 8, 16, 32, 64}, true), 127);
}

}  // namespace
}  // namespace tessera::test
