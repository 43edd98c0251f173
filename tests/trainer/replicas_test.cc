// SPDX-License-Identifier: Apache-2.0
// Replicas of weights that differ in one bit are found and named before anything is saved.
#include "trainer/replicas.h"

#include <cmath>
#include <cstring>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/check.h"
#include "tests/support/thread_communicator.h"

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr int64_t kRows = 6, kColumns = 4;

StateEntry entry(const std::string& name, const std::string& role, int64_t first_row, int64_t rows,
                 bool owner) {
  const Tensor tensor(Device{}, DType::f32, {rows, kColumns});
  for (int64_t i = 0; i < tensor.size(); ++i)
    tensor.as<float>()[i] = static_cast<float>(i + first_row * kColumns) + 0.5f;
  return {.name = name,
          .role = role,
          .tensor = tensor,
          .shard = {{kRows, kColumns}, {.offset = {first_row, 0}, .extent = {rows, kColumns}}},
          .owner = owner};
}

// Two tensors that all ranks hold whole, one that is dealt to them, and moments.
State state_of(int rank) {
  State state;
  state.entries = {
      entry("embedding", "param", 0, kRows, rank == 0), entry("dealt", "param", rank, 1, true),
      entry("norm", "param", 0, kRows, rank == 1), entry("norm", "exp_avg", 0, kRows, rank == 1)};
  return state;
}

using Change = std::function<void(int rank, State&)>;

// Returns what all ranks of `size` are told after `change`; the check is called twice.
std::string complaint(int size, const Change& change) {
  std::vector<std::string> told(static_cast<size_t>(size));
  run_ranks(size, [&](Communicator& world) {
    State state = state_of(world.rank());
    ReplicaCheck check(world);
    check(state);
    change(world.rank(), state);
    try {
      check(state);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::numeric);
      told[static_cast<size_t>(world.rank())] = error.what();
    }
  });
  for (const std::string& text : told) EXPECT_EQ(text, told[0]);
  return told[0];
}

// Flips one bit of one element on one rank.
Change flip(int rank, size_t entry, int64_t element, int bit) {
  return [=](int mine, State& state) {
    if (mine != rank) return;
    uint32_t bits = 0;
    float* value = state.entries[entry].tensor.as<float>() + element;
    std::memcpy(&bits, value, sizeof bits);
    bits ^= uint32_t{1} << bit;
    std::memcpy(value, &bits, sizeof bits);
  };
}

TEST(Replicas, ThatAreEqualAreNotSpokenOf) {
  for (const int size : {1, 2, 3, 5}) EXPECT_EQ(complaint(size, [](int, State&) {}), "");
  // What changes on all ranks alike is training.
  EXPECT_EQ(complaint(3,
                      [](int, State& state) {
                        for (StateEntry& each : state.entries) each.tensor.as<float>()[0] += 1;
                      }),
            "");
}

TEST(Replicas, ThatDifferInOneBitAreNamedWithTheRank) {
  for (const int bit : {0, 22, 31})
    for (const int rank : {0, 1, 2}) {
      const std::string text = complaint(3, flip(rank, 0, 5, bit));
      EXPECT_THAT(text, HasSubstr("embedding of rank " + std::to_string(rank)));
      EXPECT_THAT(text, HasSubstr("the other 2 ranks"));
      EXPECT_THAT(text, Not(HasSubstr("further tensors")));
    }
  EXPECT_THAT(complaint(2, flip(1, 2, 23, 3)), HasSubstr("norm of ranks 0 and 1 has not the same"));
  EXPECT_THAT(complaint(2,
                        [](int rank, State& state) {
                          flip(1, 0, 0, 1)(rank, state);
                          flip(1, 2, 0, 1)(rank, state);
                        }),
              HasSubstr("1 further tensors"));
}

TEST(Replicas, OfWhichOneIsNotFiniteSaySo) {
  const std::string text = complaint(2, [](int rank, State& state) {
    if (rank == 1) state.entries[2].tensor.as<float>()[3] = std::nanf("");
  });
  EXPECT_THAT(text, HasSubstr("norm of ranks 0 and 1"));
  EXPECT_THAT(text, HasSubstr("not finite on rank 1"));
}

TEST(Replicas, AreNotWhatIsDealtNorMoments) {
  EXPECT_EQ(complaint(3, flip(1, 1, 0, 5)), "");
  EXPECT_EQ(complaint(3, flip(1, 3, 0, 5)), "");
}

TEST(Replicas, AreFoundAgainWhereTheRanksEntriesChange) {
  const std::string text = complaint(3, [](int rank, State& state) {
    if (rank != 2) state.entries.push_back(entry("moved", "param", 0, kRows, rank == 0));
    flip(1, 4, 0, 0)(rank == 2 ? 0 : rank, state);
  });
  EXPECT_THAT(text, HasSubstr("moved of ranks 0 and 1"));
}

}  // namespace
}  // namespace tessera
