// SPDX-License-Identifier: Apache-2.0
// Nothing that was computed is ever lost: a run that is killed, damaged, doubled and sent back,
// again and again, ends with the bits of one that was left in peace. Drawn from a seed:
//   TESSERA_SOAK_SEED=7      another life; a failure prints the seed and the round
//   TESSERA_SOAK_ROUNDS=50   how often it is disturbed
//   TESSERA_SOAK_MINUTES=15  new seeds, drawn and printed, until that time is over
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/soak/life.h"

namespace tessera::soak {
namespace {

constexpr uint64_t kSeed = 1;
constexpr int64_t kRounds = 8;

int64_t number_from(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoll(text, nullptr, 10) : otherwise;
}

void live(Layouts layouts) {
  const int64_t rounds = number_from("TESSERA_SOAK_ROUNDS", kRounds);
  const std::chrono::minutes minutes(number_from("TESSERA_SOAK_MINUTES", 0));
  const auto end = std::chrono::steady_clock::now() + minutes;
  const bool drawn = minutes.count() > 0;
  auto seed = static_cast<uint64_t>(number_from("TESSERA_SOAK_SEED", kSeed));
  do {
    if (drawn) seed = std::random_device()();
    std::printf("TESSERA_SOAK_SEED=%llu TESSERA_SOAK_ROUNDS=%lld\n",
                static_cast<unsigned long long>(seed), static_cast<long long>(rounds));
    std::fflush(stdout);
    Life(seed, layouts).live(rounds);
  } while (drawn && std::chrono::steady_clock::now() < end && !testing::Test::HasFailure());
}

TEST(Soak, ARunOfOneRankOrAPipelineLosesNothing) {
  live(Layouts::pipeline);
}

TEST(Soak, ARunOfDataParallelRanksLosesNothing) {
  live(Layouts::data);
}

}  // namespace
}  // namespace tessera::soak
