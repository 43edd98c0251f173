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

TEST(DryRun, PlaysAnyRankOf4096InOneProcess) {
  const ProcessGrid grid(
      GridSizes{.pipeline = 16, .data = 16, .context = 2, .tensor = 8, .expert = 64});
  ASSERT_EQ(grid.num_ranks(), 4096);
  for (const int rank : {0, 1, 2047, 4095}) {
    const auto calls = std::make_shared<DryCalls>();
    const Communicators comms = Communicators::dry_run(grid, rank, calls, 4);
    EXPECT_EQ(comms.rank(), rank);
    EXPECT_TRUE(comms.member());
    EXPECT_EQ(comms.world().size(), 4096);
    EXPECT_EQ(comms.world().rank(), rank);
    for (int axis = 0; axis < kNumAxes; ++axis) {
      const auto which = static_cast<Axis>(axis);
      EXPECT_EQ(comms.along(which).size(), grid.size(which));
      EXPECT_EQ(comms.along(which).rank(), grid.coord(which, rank));
    }
    EXPECT_EQ(comms.tensor_replicas().size(), 4);
    const bool between = rank == 2047;  // stage 7 of 16
    EXPECT_EQ(comms.tied_stages().size(), between ? 1 : 2);

    comms.tied_stages().barrier("tied");
    const std::vector<int> other =
        between ? std::vector<int>{} : std::vector<int>{rank < 256 ? rank + 3840 : rank - 3840};
    EXPECT_THAT(*calls, ElementsAre(DryCall{"tied stages", "barrier", "tied", 0, other}));
  }
  const auto calls = std::make_shared<DryCalls>();
  EXPECT_THAT(error_of([&] { Communicators::dry_run(grid, 4096, calls); }),
              HasSubstr("no rank 4096"));
}

TEST(DryRun, NotesEveryCallAndMovesNothing) {
  const auto calls = std::make_shared<DryCalls>();
  const Communicators comms =
      Communicators::dry_run(ProcessGrid(GridSizes{.pipeline = 2, .tensor = 4}), 5, calls);
  Stream stream{Device{}};
  Communicator& tensor = comms.along(Axis::tensor);  // ranks 4 to 7
  const Cut cut = Cut::of_counts({1, 2, 0, 1});
  const Tensor whole(Device{}, DType::f32, {4, 2}), part(Device{}, DType::f32, {2, 2});
  for (int64_t i = 0; i < 8; ++i) whole.as<float>()[i] = static_cast<float>(i);
  const auto values = [](const Tensor& x) {
    return std::vector<float>(x.as<float>(), x.as<float>() + x.size());
  };
  tensor.reduce_scatter(stream, whole, cut, part, Reduce::sum, "activations");
  EXPECT_THAT(values(part), ElementsAre(2, 3, 4, 5)) << "my rows, as if the others had zeros";
  tensor.all_gather(stream, part, cut, whole);
  EXPECT_THAT(values(whole), ElementsAre(0, 0, 2, 3, 4, 5, 0, 0));
  Communicator& pipeline = comms.along(Axis::pipeline);  // ranks 1 and 5
  pipeline.start_recv(stream, part, 0, 0, "forward")->wait();
  EXPECT_THAT(values(part), ElementsAre(0, 0, 0, 0));
  pipeline.start_send(stream, part, 0, 1, "backward")->wait();
  tensor.broadcast(stream, part, 2);
  EXPECT_EQ(comms.world().all_reduce(int64_t{7}, Reduce::sum, "tokens"), 7);
  const std::vector<int> row = {4, 6, 7}, everyone = {0, 1, 2, 3, 4, 6, 7};
  EXPECT_THAT(*calls, ElementsAre(DryCall{"tensor", "reduce-scatter", "activations", 32, row},
                                  DryCall{"tensor", "all-gather", "", 32, row},
                                  DryCall{"pipeline", "receive", "forward", 16, {1}},
                                  DryCall{"pipeline", "send", "backward", 16, {1}},
                                  DryCall{"tensor", "broadcast", "", 16, {6}},
                                  DryCall{"world", "all-reduce", "tokens", 8, everyone}));
  EXPECT_THAT(error_of([&] { pipeline.start_send(stream, part, 2, 0); }),
              HasSubstr("has no rank 2"));
}

}  // namespace
}  // namespace tessera::test
