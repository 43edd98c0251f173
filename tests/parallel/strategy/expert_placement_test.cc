// SPDX-License-Identifier: Apache-2.0
#include "parallel/strategy/expert_placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;

// The published example of deepseek-ai/EPLB (README, layer 0): groups of three experts to two
// nodes, then sixteen replicas, eight on each node, to four GPUs of two. A replica's load is its
// expert's over its replicas.
TEST(BalancedPacking, GivesThePublishedExample) {
  const std::vector<double> loads = {90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86};
  std::vector<double> groups(4, 0.0);
  for (size_t expert = 0; expert < loads.size(); ++expert) groups[expert / 3] += loads[expert];
  const Packing nodes = balanced_packing(groups, 2);
  EXPECT_THAT(nodes.pack, ElementsAre(1, 0, 0, 1));  // 262, 330, 116, 325
  EXPECT_THAT(nodes.rank, ElementsAre(1, 0, 1, 0));

  // phy2log of the first node: 5 6 | 5 7 | 8 4 | 3 4. Its experts 3 to 8, of which 4 and 5 have two
  // replicas: experts in the order of their groups' places, further replicas behind.
  const std::vector<int> experts = {3, 4, 5, 6, 7, 8, 5, 4};
  const std::vector<double> replicas = {61, 52, 82.5, 39, 4, 73, 82.5, 52};
  const Packing gpus = balanced_packing(replicas, 4);
  std::vector<int> phy2log(8);
  for (size_t i = 0; i < experts.size(); ++i)
    phy2log[static_cast<size_t>(gpus.pack[i] * 2 + gpus.rank[i])] = experts[i];
  EXPECT_THAT(phy2log, ElementsAre(5, 6, 5, 7, 8, 4, 3, 4));
}

TEST(BalancedPacking, TakesTheFirstOfEquals) {
  const Packing packing = balanced_packing({1, 1, 1, 1}, 2);
  EXPECT_THAT(packing.pack, ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(packing.rank, ElementsAre(0, 0, 1, 1));
  EXPECT_EQ(error_of([] {
              balanced_packing({1, 1, 1}, 2);
            }),
            "internal: balanced_packing: cannot pack 3 items into 2");
}

TEST(ExpertPlacement, IsTheIdentityUntilItIsBalanced) {
  const ExpertPlacement plain(6, 3);
  EXPECT_THAT(plain.experts_of(1), ElementsAre(2, 3));
  const std::vector<double> loads = {8, 7, 1, 1, 1, 0};
  EXPECT_DOUBLE_EQ(plain.imbalance(loads), 15.0 * 3 / 18);
  const ExpertPlacement even = ExpertPlacement::balanced(loads, 3);
  EXPECT_THAT(even.place_of_expert(), ElementsAre(0, 2, 4, 5, 3, 1));
  EXPECT_THAT(even.experts_of(0), ElementsAre(0, 5));
  EXPECT_DOUBLE_EQ(even.imbalance(loads), 8.0 * 3 / 18);
}

}  // namespace
}  // namespace tessera::test
