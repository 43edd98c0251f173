// SPDX-License-Identifier: Apache-2.0
#include "parallel/communicators.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/rank_world.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The world ranks of a group, in its order.
std::vector<int> members(Communicator& group) {
  std::vector<int> ranks;
  for (const std::string& text : group.all_gather(std::to_string(world().rank())))
    ranks.push_back(std::stoi(text));
  return ranks;
}

TEST(Communicators, HaveTheGroupsThatTheGridNames) {
  const int n = world().size();
  for (const GridSizes& sizes : {GridSizes{.data = n}, GridSizes{.tensor = n},
                                 GridSizes{.pipeline = n}, GridSizes{.data = n, .expert = n}}) {
    const ProcessGrid grid(sizes);
    const Communicators comms(world(), grid);
    EXPECT_TRUE(comms.member());
    EXPECT_EQ(comms.rank(), world().rank());
    for (int axis = 0; axis < kNumAxes; ++axis) {
      const auto which = static_cast<Axis>(axis);
      EXPECT_EQ(members(comms.along(which)), grid.ranks_along(which, world().rank()));
      EXPECT_EQ(comms.along(which).label(), name(which));
    }
    EXPECT_EQ(comms.world().size(), n);
  }
}

TEST(Communicators, MayLeaveTheLastRanksOfTheWorldOut) {
  const int n = world().size();
  if (n == 1) GTEST_SKIP() << "one rank";
  const Communicators comms(world(), ProcessGrid(GridSizes{.data = n - 1}));
  EXPECT_EQ(comms.member(), world().rank() < n - 1);
  EXPECT_EQ(comms.rank(), world().rank());
  EXPECT_EQ(comms.world().label(), "world");
  std::vector<int> expected;
  for (int rank = 0; rank < n - 1; ++rank) expected.push_back(rank);
  if (!comms.member()) expected = {world().rank()};
  EXPECT_EQ(members(comms.world()), expected);
  EXPECT_EQ(members(comms.data()), expected);
  EXPECT_EQ(members(comms.along(Axis::tensor)), std::vector<int>{world().rank()});
}

TEST(Communicators, RefuseAGridLargerThanTheWorld) {
  const ProcessGrid grid(GridSizes{.data = world().size() + 1});
  EXPECT_THAT(error_of([&] { Communicators(world(), grid); }),
              HasSubstr("ranks, the job " + std::to_string(world().size())));
}

TEST(Communicators, GroupNeighboursWhoHoldTheSameHeads) {
  const int n = world().size(), me = world().rank();
  const ProcessGrid grid(GridSizes{.tensor = n});
  const Communicators single(world(), grid);
  EXPECT_EQ(members(single.tensor_replicas()), std::vector<int>{me});
  if (n % 2 == 0) {
    const Communicators pairs(world(), grid, 2);
    EXPECT_THAT(members(pairs.tensor_replicas()), ElementsAre(me / 2 * 2, me / 2 * 2 + 1));
  }
  EXPECT_THAT(error_of([&] { Communicators(world(), grid, n + 1); }),
              HasSubstr("groups of replicas: " + std::to_string(n + 1)));
}

TEST(Communicators, TieTheFirstPipelineCoordinateToTheLast) {
  const int n = world().size(), me = world().rank();
  const Communicators flat(world(), ProcessGrid(GridSizes{.data = n}));
  EXPECT_EQ(members(flat.tied_stages()), std::vector<int>{me});

  const Communicators line(world(), ProcessGrid(GridSizes{.pipeline = n}));
  const bool at_an_end = n > 1 && (me == 0 || me == n - 1);
  EXPECT_EQ(members(line.tied_stages()),
            at_an_end ? std::vector<int>({0, n - 1}) : std::vector<int>{me});

  if (n % 2 != 0) return;
  const int half = n / 2;  // two stages of `half` ranks: everybody is tied to one other
  const Communicators two(world(), ProcessGrid(GridSizes{.pipeline = 2, .data = half}));
  EXPECT_THAT(members(two.tied_stages()), ElementsAre(me % half, me % half + half));
}

TEST(Communicators, OfASingleProcessAreGroupsOfOne) {
  const Communicators alone;
  EXPECT_TRUE(alone.member());
  EXPECT_EQ(alone.rank(), 0);
  for (Communicator* group : {&alone.world(), &alone.data(), &alone.along(Axis::expert),
                              &alone.tensor_replicas(), &alone.tied_stages()})
    EXPECT_EQ(group->size(), 1);
}

}  // namespace
}  // namespace tessera::test
