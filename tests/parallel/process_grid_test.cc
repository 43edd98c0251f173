// SPDX-License-Identifier: Apache-2.0
#include "parallel/process_grid.h"

#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr GridSizes kLarge{
    .pipeline = 8, .data = 16, .context = 2, .tensor = 16, .expert = 32, .expert_tensor = 2};
constexpr Axis kDense[] = {Axis::pipeline, Axis::data, Axis::context, Axis::tensor};
constexpr Axis kExpert[] = {Axis::pipeline, Axis::expert_data, Axis::expert, Axis::expert_tensor};

TEST(ProcessGrid, GivesEachOf4096RanksItsOwnPlaceInBothGrids) {
  const ProcessGrid grid(kLarge);
  ASSERT_EQ(grid.num_ranks(), 4096);
  EXPECT_EQ(grid.size(Axis::expert_data), 8);
  for (const auto& axes : {kDense, kExpert}) {
    std::set<std::vector<int>> places;
    for (int rank = 0; rank < grid.num_ranks(); ++rank) {
      std::vector<int> place;
      for (int axis = 0; axis < 4; ++axis) {
        place.push_back(grid.coord(axes[axis], rank));
        EXPECT_LT(place.back(), grid.size(axes[axis]));
      }
      places.insert(place);
    }
    EXPECT_EQ(places.size(), 4096u);
  }
}

TEST(ProcessGrid, CutsTheRanksIntoDisjointGroupsAlongEveryAxis) {
  const ProcessGrid grid(kLarge);
  for (int number = 0; number < kNumAxes; ++number) {
    const Axis axis = static_cast<Axis>(number);
    const bool dense = std::find(std::begin(kDense), std::end(kDense), axis) != std::end(kDense);
    const auto& others = dense ? kDense : kExpert;
    std::vector<int> times_seen(4096, 0);
    for (int rank = 0; rank < 4096; ++rank) {
      const std::vector<int> group = grid.ranks_along(axis, rank);
      ASSERT_EQ(static_cast<int>(group.size()), grid.size(axis)) << name(axis);
      ASSERT_EQ(group[static_cast<size_t>(grid.coord(axis, rank))], rank) << name(axis);
      for (const int peer : group) {
        ASSERT_EQ(grid.ranks_along(axis, peer), group) << name(axis) << " of rank " << peer;
        for (const Axis other : others)
          if (other != axis) {
            ASSERT_EQ(grid.coord(other, peer), grid.coord(other, rank)) << name(other);
          }
      }
      if (group.front() == rank)
        for (const int peer : group) ++times_seen[static_cast<size_t>(peer)];
    }
    EXPECT_EQ(times_seen, std::vector<int>(4096, 1)) << name(axis);
  }
}

TEST(ProcessGrid, PutsTensorGroupsOnNeighbouringRanks) {
  const ProcessGrid grid({.pipeline = 2, .data = 2, .tensor = 2, .expert = 2});
  EXPECT_THAT(grid.ranks_along(Axis::tensor, 5), ElementsAre(4, 5));
  EXPECT_THAT(grid.ranks_along(Axis::data, 5), ElementsAre(5, 7));
  EXPECT_THAT(grid.ranks_along(Axis::pipeline, 5), ElementsAre(1, 5));
  EXPECT_THAT(grid.ranks_along(Axis::expert, 7), ElementsAre(6, 7));
  EXPECT_THAT(grid.ranks_along(Axis::expert_data, 7), ElementsAre(5, 7));
}

TEST(ProcessGrid, FillsTheDataAxisWithWhatIsLeft) {
  const ProcessGrid grid = ProcessGrid::filling(24, {.pipeline = 3, .tensor = 2});
  EXPECT_EQ(grid.size(Axis::data), 4);
  EXPECT_EQ(grid.to_string(), "data 4 x tensor 2 x pipeline 3");
  EXPECT_EQ(ProcessGrid({.data = 2, .context = 4}).to_string(),
            "data 2 x tensor 1 x pipeline 1 x context 4");
}

TEST(ProcessGrid, SaysWhichSizesDoNotFit) {
  EXPECT_THAT(error_of([] { ProcessGrid::filling(10, {.pipeline = 2, .tensor = 2}); }),
              AllOf(StartsWith("capacity"), HasSubstr("tensor 2 x pipeline 2 x context 1 = 4 "),
                    HasSubstr("10 ranks"), HasSubstr("8 and 12")));
  EXPECT_THAT(error_of([] { ProcessGrid::filling(3, {.pipeline = 2, .tensor = 2}); }),
              AllOf(StartsWith("capacity"), HasSubstr("at least 4 ranks"), HasSubstr("has 3")));
  EXPECT_THAT(error_of([] { ProcessGrid({.data = 4, .expert = 3}); }),
              AllOf(StartsWith("capacity"), HasSubstr("= 3 must divide"), HasSubstr("= 4")));
  EXPECT_THAT(error_of([] { ProcessGrid({.data = 0}); }),
              AllOf(StartsWith("capacity"), HasSubstr("parallel.data must be at least 1, got 0")));
  EXPECT_THAT(error_of([] { ProcessGrid({.expert = 0}); }), HasSubstr("parallel.expert must be"));
  EXPECT_THAT(error_of([] { ProcessGrid({.data = 2}).coord(Axis::data, 2); }),
              StartsWith("internal"));
}

}  // namespace
}  // namespace tessera::test
