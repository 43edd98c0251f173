// SPDX-License-Identifier: Apache-2.0
#include "parallel/shard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/random.h"
#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::StartsWith;

TEST(EvenPart, PutsTheLargerPartsFirst) {
  const std::vector<std::pair<int64_t, int64_t>> expected = {{0, 3}, {3, 3}, {6, 2}, {8, 2}};
  for (int64_t index = 0; index < 4; ++index) {
    const Interval part = even_part(10, index, 4);
    EXPECT_EQ(std::pair(part.first, part.extent), expected[static_cast<size_t>(index)]);
  }
}

TEST(EvenPart, TilesAnyTotalWithPartsThatDifferByAtMostOne) {
  for (const int64_t total : {0, 1, 2, 7, 64, 1000003})
    for (const int64_t count : {1, 2, 3, 8, 2048}) {
      int64_t next = 0;
      for (int64_t index = 0; index < count; ++index) {
        const Interval part = even_part(total, index, count);
        ASSERT_EQ(part.first, next);
        ASSERT_TRUE(part.extent == total / count || part.extent == total / count + 1);
        next += part.extent;
      }
      EXPECT_EQ(next, total);
    }
}

TEST(EvenPart, RefusesAPartOutsideTheCount) {
  EXPECT_THAT(error_of([] { even_part(10, 4, 4); }), StartsWith("internal"));
  EXPECT_THAT(error_of([] { even_part(10, -1, 4); }), StartsWith("internal"));
  EXPECT_THAT(error_of([] { even_part(10, 0, 0); }), StartsWith("internal"));
}

TEST(ShardSpec, SplitsInsideItsOwnBox) {
  const ShardSpec whole = ShardSpec::whole({10, 7});
  EXPECT_TRUE(whole.is_whole());
  const ShardSpec lower = whole.split(0, 1, 3);  // rows 4..6
  EXPECT_EQ(lower.box, (Box{{4, 0}, {3, 7}}));
  const ShardSpec corner = lower.split(1, 1, 2);
  EXPECT_EQ(corner.box, (Box{{4, 4}, {3, 3}}));
  EXPECT_EQ(corner.split(0, 2, 3).box, (Box{{6, 4}, {1, 3}}));
  EXPECT_EQ(corner.rows(1, 2).box, (Box{{5, 4}, {2, 3}}));
  EXPECT_EQ(corner.global_shape, (std::vector<int64_t>{10, 7}));
  EXPECT_FALSE(corner.is_whole());
  EXPECT_EQ(to_string(corner.box), "[4:7, 4:7]");
  EXPECT_THAT(error_of([&] { corner.split(2, 0, 1); }), StartsWith("internal"));
  EXPECT_THAT(error_of([&] { corner.rows(2, 2); }), StartsWith("internal"));
}

TEST(Boxes, MeetWhereBothAre) {
  const Box a{{0, 2}, {4, 5}}, b{{3, 0}, {5, 4}};
  EXPECT_EQ(intersect(a, b), (Box{{3, 2}, {1, 2}}));
  EXPECT_EQ(intersect(a, Box{{4, 2}, {1, 1}}), std::nullopt) << "neighbours share nothing";
  EXPECT_EQ(intersect(a, Box{{0, 2}, {0, 5}}), std::nullopt) << "an empty box";
  EXPECT_THAT(error_of([&] { intersect(a, Box{{0}, {1}}); }), StartsWith("internal"));
}

// Any two ways of cutting a tensor cover each other exactly: what resharding rests on.
TEST(Boxes, OfAnyTwoCutsCoverEveryElementOnce) {
  const Philox philox{1, 2};
  for (uint64_t round = 0; round < 50; ++round) {
    const auto draw = [&](uint64_t i, uint64_t limit) {
      return static_cast<int64_t>(philox.bits(round * 16 + i) % limit);
    };
    const ShardSpec whole = ShardSpec::whole({1 + draw(0, 20), 1 + draw(1, 20)});
    const auto cut = [&](uint64_t i) {
      const int64_t rows = 1 + draw(i, 6), columns = 1 + draw(i + 1, 6);
      std::vector<Box> boxes;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < columns; ++c)
          boxes.push_back(whole.split(0, r, rows).split(1, c, columns).box);
      return boxes;
    };
    const int64_t width = whole.global_shape[1];
    std::vector<int> covered(static_cast<size_t>(whole.box.size()), 0);
    for (const Box& a : cut(2))
      for (const Box& b : cut(4)) {
        const auto both = intersect(a, b);
        ASSERT_EQ(both, intersect(b, a));
        if (!both) continue;
        for (int64_t r = 0; r < both->extent[0]; ++r)
          for (int64_t c = 0; c < both->extent[1]; ++c)
            ++covered[static_cast<size_t>((both->offset[0] + r) * width + both->offset[1] + c)];
      }
    EXPECT_EQ(covered, std::vector<int>(covered.size(), 1)) << "round " << round;
  }
}

TEST(Cut, DealsRowsEvenlyToOneOrByCounts) {
  const Cut even = Cut::even(10, 4);
  EXPECT_EQ(to_string(even), "3 + 3 + 2 + 2");
  EXPECT_EQ(even.rows(), 10);
  EXPECT_EQ(even.ranks(), 4);
  EXPECT_EQ(even.part(2).first, 6);
  EXPECT_TRUE(even.is_even());
  EXPECT_EQ(even, Cut::of_counts({3, 3, 2, 2}));

  const Cut owned = Cut::owned(10, 4, 2);
  EXPECT_EQ(to_string(owned), "0 + 0 + 10 + 0");
  EXPECT_EQ(owned.part(1).extent, 0);
  EXPECT_EQ(owned.part(3).first, 10);
  EXPECT_FALSE(owned.is_even());
  EXPECT_TRUE(Cut::owned(10, 1, 0).is_even());
  EXPECT_FALSE(Cut::of_counts({2, 3}).is_even()) << "the larger part must come first";
  EXPECT_NE(even, Cut::even(10, 5));
}

TEST(Cut, MayHaveMoreRanksThanRows) {
  EXPECT_EQ(to_string(Cut::even(2, 4)), "1 + 1 + 0 + 0");
  EXPECT_EQ(to_string(Cut::even(0, 2)), "0 + 0");
}

TEST(Cut, RefusesRanksThatAreNotThere) {
  EXPECT_THAT(error_of([] { Cut::even(10, 0); }), StartsWith("internal"));
  EXPECT_THAT(error_of([] { Cut::even(-1, 2); }), StartsWith("internal"));
  EXPECT_THAT(error_of([] { Cut::owned(10, 2, 2); }), StartsWith("internal"));
  EXPECT_THAT(error_of([] { Cut::of_counts({}); }), StartsWith("internal"));
  EXPECT_THAT(error_of([] { Cut::of_counts({1, -1}); }), StartsWith("internal"));
  EXPECT_THAT(error_of([] { Cut::even(10, 2).part(2); }), StartsWith("internal"));
}

}  // namespace
}  // namespace tessera::test
