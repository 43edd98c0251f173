// SPDX-License-Identifier: Apache-2.0
#include "data/batch_schedule.h"

#include <limits>

#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using Sizes = std::vector<BatchSchedule::Size>;

// 2 samples a step for 10 samples, 4 until 24, then 8.
const BatchSchedule kGrowing(Sizes{{0, 2}, {10, 4}, {24, 8}});

TEST(BatchSchedule, OfOneSizeDivides) {
  const BatchSchedule even = 8;
  EXPECT_EQ(even.at(0), 8);
  EXPECT_EQ(even.at(1000001), 8);
  EXPECT_EQ(even.steps(0, 0), 0);
  EXPECT_EQ(even.steps(0, 800), 100);
  EXPECT_EQ(even.steps(0, 801), 101) << "the last step goes beyond the end";
  EXPECT_EQ(even.steps(16, 800), 98);
  EXPECT_EQ(even.sample_after(16, 3), 40);
}

TEST(BatchSchedule, GivesAStepTheSizeOfItsFirstSample) {
  EXPECT_EQ(kGrowing.at(9), 2);
  EXPECT_EQ(kGrowing.at(10), 4);
  EXPECT_EQ(kGrowing.at(23), 4);
  EXPECT_EQ(kGrowing.at(24), 8);
  EXPECT_EQ(kGrowing.at(1 << 30), 8);
}

// Samples 0 2 4 6 8 10 14 18 22 26 34 42 ...: the step at 22 still has the size of before 24.
TEST(BatchSchedule, CountsStepsAcrossSizesAsOneByOne) {
  for (const int64_t start : {0, 2, 3, 10, 22, 26, 100}) {
    int64_t sample = start;
    for (int64_t steps = 0; steps < 40; ++steps) {
      EXPECT_EQ(kGrowing.sample_after(start, steps), sample) << start << " + " << steps;
      EXPECT_EQ(kGrowing.steps(start, sample), steps) << start << " to " << sample;
      if (sample > start) {
        EXPECT_EQ(kGrowing.steps(start, sample - 1), steps) << start << " to " << sample - 1;
      }
      EXPECT_EQ(kGrowing.steps(start, sample + 1), steps + 1) << start << " to " << sample + 1;
      sample += kGrowing.at(sample);
    }
  }
}

TEST(BatchSchedule, LeavesOutASizeThatNoStepBeginsIn) {
  const BatchSchedule leap(Sizes{{0, 100}, {10, 3}, {20, 3}, {20, 7}});
  EXPECT_EQ(leap.sample_after(0, 1), 100);
  EXPECT_EQ(leap.at(100), 7);
  EXPECT_EQ(leap.at(20), 7) << "the last of two at one sample";
  EXPECT_EQ(leap.steps(0, 114), 3);
}

TEST(BatchSchedule, EndsWhereNumbersEnd) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(BatchSchedule(1 << 20).sample_after(0, kMost / 2), kMost);
  EXPECT_EQ(BatchSchedule(kMost - 1).steps(0, kMost), 2);
}

TEST(BatchSchedule, WantsSizesInOrder) {
  for (const Sizes& bad : {Sizes{}, Sizes{{0, 0}}, Sizes{{1, 2}}, Sizes{{0, 2}, {5, 3}, {4, 3}},
                           Sizes{{0, 2}, {5, -3}}})
    EXPECT_NE(error_of([&] { BatchSchedule{bad}; }), "no error") << bad.size();
}

}  // namespace
}  // namespace tessera::test
