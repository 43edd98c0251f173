// SPDX-License-Identifier: Apache-2.0
#include "launch/report/format.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Format, LargeNumbersGetThreeDigitsAndAPrefix) {
  EXPECT_EQ(with_prefix(0), "0");
  EXPECT_EQ(with_prefix(999), "999");
  EXPECT_EQ(with_prefix(10100), "10.1k");
  EXPECT_EQ(with_prefix(2.4e6), "2.40M");
  EXPECT_EQ(with_prefix(124e6), "124M");
  EXPECT_EQ(with_prefix(3e15), "3000T");
}

TEST(Format, RoundingNeverShowsAThousandOfAUnit) {
  EXPECT_EQ(with_prefix(999999), "1.00M");
  EXPECT_EQ(with_prefix(999.7), "1.00k");
  EXPECT_EQ(as_bytes(999999), "1.0 MB");
  EXPECT_EQ(as_bytes(9960), "10 kB");
  EXPECT_EQ(with_prefix(9999), "10.0k");
}

TEST(Format, CountsAreShortAndAsRecipesReadThem) {
  EXPECT_EQ(as_count(0), "0");
  EXPECT_EQ(as_count(999), "999");
  EXPECT_EQ(as_count(96000), "96K");
  EXPECT_EQ(as_count(333'000'000'000), "333B");
  EXPECT_EQ(as_count(14'633'000'000'000), "14.633T");
  EXPECT_EQ(as_count(14'800'012'345'678), "14.8T");
}

TEST(Format, BytesAreInPowersOfAThousand) {
  EXPECT_EQ(as_bytes(0), "0 B");
  EXPECT_EQ(as_bytes(999), "999 B");
  EXPECT_EQ(as_bytes(1500), "1.5 kB");
  EXPECT_EQ(as_bytes(29e6), "29 MB");
  EXPECT_EQ(as_bytes(2.5e12), "2.5 TB");
}

TEST(Format, DurationsUseTheTwoLargestUnits) {
  EXPECT_EQ(as_duration(0.41), "0.4s");
  EXPECT_EQ(as_duration(59.4), "59s");
  EXPECT_EQ(as_duration(62), "1m02s");
  EXPECT_EQ(as_duration(3600), "1h00m");
  EXPECT_EQ(as_duration(90061), "25h01m");
  EXPECT_EQ(as_duration(9.97), "10s");
}

TEST(Format, FixedAndScientificRound) {
  EXPECT_EQ(fixed(6.9019, 3), "6.902");
  EXPECT_EQ(scientific(0.0005), "5.0e-04");
}

TEST(Format, TablesAlignNumbersToTheRightAndWordsToTheLeft) {
  EXPECT_EQ(
      table({{"step", "status", "size"}, {"5", "complete", "29 MB"}, {"100", "damaged", "-"}}),
      "step  status     size\n"
      "   5  complete  29 MB\n"
      " 100  damaged       -\n");
}

TEST(Format, ATableOfOnlyAHeadingIsTheHeading) {
  EXPECT_EQ(table({{"a", "b"}}), "a  b\n");
}

}  // namespace
}  // namespace tessera
