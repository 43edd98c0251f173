// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/generators.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/pipeline/simulate.h"
#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// (schedule, plan) of published_orders.txt.
std::vector<std::pair<std::string, Plan>> published() {
  std::ifstream in(std::string(TESSERA_SOURCE_DIR) +
                   "/tests/parallel/pipeline/published_orders.txt");
  std::vector<std::pair<std::string, std::string>> texts;
  const std::string start = "schedule ";
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(start))
      texts.emplace_back(line.substr(start.size()), "");
    else if (!texts.empty())
      texts.back().second += line + "\n";
  std::vector<std::pair<std::string, Plan>> plans;
  for (const auto& [name, text] : texts) plans.emplace_back(name, parse_plan(text));
  return plans;
}

Plan without_weight_halves(Plan plan) {
  for (Schedule& schedule : plan.ranks)
    std::erase_if(schedule, [](const Action& a) { return a.op == Op::backward_weight; });
  return plan;
}

TEST(Generators, MakeThePublishedOrders) {
  const auto plans = published();
  ASSERT_EQ(plans.size(), 16u);
  for (const auto& [name, plan] : plans) {
    check_plan(plan);
    const int ranks = plan.num_ranks();
    if (name == "zb_2p")  // the same F and B in more memory
      EXPECT_EQ(to_string(without_weight_halves(make_plan("zb_h2", ranks, 0, plan.num_micro))),
                to_string(without_weight_halves(plan)));
    else
      EXPECT_EQ(to_string(make_plan(name, ranks, 0, plan.num_micro)), to_string(plan)) << name;
  }
}

TEST(OneFOneB, OfOneRankIsGradientAccumulation) {
  EXPECT_EQ(to_string(one_f_one_b(1, 2).ranks[0]), "F0.0 B0.0 W0.0 F0.1 B0.1 W0.1");
}

// Microbatch-chunks that a rank may hold: the memory that each paper states.
int bound(const std::string& name, int ranks, int rank, int chunks, int micros) {
  if (name == "gpipe") return micros;
  if (name == "1f1b") return std::min(ranks - rank, micros);
  if (name == "interleaved")
    return std::min(2 * (ranks - rank - 1) + (chunks - 1) * ranks + 1, micros * chunks);
  if (name == "zb_h1") return std::min(ranks, micros);
  if (name == "zb_h2") return std::min(2 * ranks - 1, micros);
  if (name == "zb_v") return std::min(2 * ranks, 2 * micros);
  return std::min(2 * ranks + 1, 2 * micros);  // dualpipe_v
}

TEST(Generators, AreSoundAndStayInTheirMemoryForManySizes) {
  for (const ScheduleKind& kind : schedule_kinds())
    for (int ranks = 1; ranks <= 8; ++ranks)
      for (const int chunks : kind.chunks == 0 ? std::vector{2, 3} : std::vector{kind.chunks})
        for (int micros = kind.least(ranks); micros <= 2 * ranks + 3; ++micros) {
          if (micros % kind.multiple(ranks) != 0) continue;
          SCOPED_TRACE(kind.name + std::string(" p=") + std::to_string(ranks) +
                       " v=" + std::to_string(chunks) + " m=" + std::to_string(micros));
          const Plan plan = make_plan(kind.name, ranks, chunks, micros);
          check_plan(plan);
          ASSERT_EQ(plan.num_ranks(), ranks);
          ASSERT_EQ(plan.num_stages(), ranks * chunks);
          const Simulation simulation = simulate(plan);
          for (int rank = 0; rank < ranks; ++rank)
            EXPECT_LE(simulation.peak_live[static_cast<size_t>(rank)],
                      bound(kind.name, ranks, rank, chunks, micros))
                << "rank " << rank;
        }
}

TEST(MakePlan, SaysWhichNumbersItAllows) {
  const auto fault = [](const char* name, int ranks, int chunks, int micros) {
    return error_of([&] { make_plan(name, ranks, chunks, micros); });
  };
  EXPECT_THAT(fault("dualpipe", 4, 0, 8),
              AllOf(StartsWith("usage"), HasSubstr("'dualpipe' is not known; known are gpipe"),
                    HasSubstr("dualpipe_v")));
  EXPECT_THAT(fault("interleaved", 4, 2, 10),
              AllOf(StartsWith("usage"), HasSubstr("multiples of the ranks: 10 cannot be"),
                    HasSubstr("nearest is 8 or 12")));
  EXPECT_THAT(fault("interleaved", 4, 2, 3), HasSubstr("nearest is 4"));
  EXPECT_THAT(
      fault("dualpipe_v", 4, 0, 7),
      AllOf(HasSubstr("dualpipe_v over 4 ranks needs at least twice"), HasSubstr("nearest is 8")));
  EXPECT_THAT(fault("1f1b", 4, 0, 0), HasSubstr("nearest is 1"));
  EXPECT_THAT(fault("1f1b", 4, 2, 8), HasSubstr("1f1b takes 1 model chunk"));
  EXPECT_THAT(fault("interleaved", 4, 1, 8), HasSubstr("interleaved takes 2 or more"));
  EXPECT_THAT(fault("zb_v", 4, 3, 8), HasSubstr("zb_v takes 2 model chunks"));
  EXPECT_EQ(make_plan("interleaved", 2, 0, 4), interleaved(2, 2, 4));
  EXPECT_EQ(make_plan("interleaved", 2, 3, 4), interleaved(2, 3, 4));
}

}  // namespace
}  // namespace tessera::test
