// SPDX-License-Identifier: Apache-2.0
// What is special about memory shared by the ranks of a node; communicator_test.cc holds what every
// transport promises.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <optional>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "parallel/transport/shared_board.h"
#include "parallel/transport/transports.h"
#include "tests/support/errors.h"
#include "tests/support/rank_world.h"
#include "tests/support/reductions.h"
#include "tests/support/temporary.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::vector<int> everyone() {
  std::vector<int> ranks(static_cast<size_t>(world().size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Every rank alone on one node with all others.
Placement one_node() {
  return {std::vector<int>(static_cast<size_t>(world().size()), 0), everyone()};
}

struct SharedMemory : testing::Test {
  Stream stream{Device{}};
  std::unique_ptr<Communicator> mpi = world().mpi_group(everyone(), "test");
  std::unique_ptr<Communicator> shared = world().group(everyone(), "test");
  int me = world().rank();
  int ranks = world().size();
};

TEST_F(SharedMemory, IsChosenForRanksOfOneNode) {
  EXPECT_STREQ(world().all().transport(), "shared memory");
  EXPECT_STREQ(shared->transport(), "shared memory");
  EXPECT_STREQ(mpi->transport(), "mpi");
}

Tensor in_memory(const Tensor& values, MemoryClass memory_class) {
  const Tensor copy(Device{}, values.dtype(), {values.rows(), values.columns()}, memory_class);
  std::memcpy(copy.data(), values.data(), static_cast<size_t>(values.bytes()));
  return copy;
}

// Whole tensors below, at and far above a stage, of sizes that are multiples of nothing, in memory
// that peers can map, in private memory, or in both.
TEST_F(SharedMemory, GivesTheBitsOfMpiAtAnySize) {
  const Philox philox{3, 5};
  for (uint64_t round = 0; round < 24; ++round) {
    const auto draw = [&](uint64_t i, uint64_t limit) {
      return static_cast<int64_t>(philox.bits(round * 8 + i) % limit);
    };
    const DType dtype = draw(0, 2) == 0 ? DType::bf16 : DType::f32;
    const int64_t columns = 1 + draw(1, 7);
    const int64_t rows = 1 + draw(2, round % 4 == 0 ? 300'000 : 3'000);
    std::vector<int64_t> counts(static_cast<size_t>(ranks), 0);
    for (int64_t left = rows, rank = 0; rank < ranks; ++rank) {
      counts[static_cast<size_t>(rank)] =
          rank == ranks - 1 ? left : draw(3, static_cast<uint64_t>(left) + 1);
      left -= counts[static_cast<size_t>(rank)];
    }
    const Cut cut = round % 2 == 0 ? Cut::even(rows, ranks) : Cut::of_counts(counts);
    const int64_t mine = cut.part(me).extent;
    const auto memory = [&](int64_t tensor) {
      const bool mapped = round % 3 == 0 || (round % 3 == 1 && (me + tensor) % 2 == 0);
      return mapped ? MemoryClass::communication : MemoryClass::activations;
    };
    const Tensor in =
        in_memory(numbers_of(me, dtype, rows * columns).reshaped({rows, columns}), memory(0));
    Tensor sums[2], parts[2], wholes[2];
    for (const int which : {0, 1}) {
      Communicator& all = which == 0 ? *mpi : *shared;
      const DType wide = accumulation_type(dtype);
      sums[which] = round < 12 ? Tensor(Device{}, dtype, {rows, columns}, memory(1))
                               : in_memory(in, memory(0));
      parts[which] = Tensor(Device{}, wide, {mine, columns}, memory(2));
      wholes[which] = Tensor(Device{}, wide, {rows, columns}, memory(3));
      all.all_reduce(stream, round < 12 ? in : sums[which], sums[which], Reduce::sum);
      all.reduce_scatter(stream, in, cut, parts[which], Reduce::sum);
      all.all_gather(stream, parts[which], cut, wholes[which]);
    }
    EXPECT_TRUE(same_bits(sums[0], sums[1])) << in.shape();
    EXPECT_TRUE(same_bits(parts[0], parts[1])) << in.shape() << " cut " << to_string(cut);
    EXPECT_TRUE(same_bits(wholes[0], wholes[1])) << in.shape() << " cut " << to_string(cut);
  }
}

TEST_F(SharedMemory, CarriesRowsOfAnyNumberToTheirRanks) {
  // About 3 MB to each rank: many stages.
  const auto count = [](int64_t from, int64_t to) { return 100'000 + 1'000 * from + 17 * to; };
  std::vector<int64_t> sent, received;
  for (int64_t peer = 0; peer < ranks; ++peer) {
    sent.push_back(count(me, peer));
    received.push_back(count(peer, me));
  }
  const Cut in_cut = Cut::of_counts(sent), out_cut = Cut::of_counts(received);
  const Tensor in = numbers_of(me, DType::f32, 3 * in_cut.rows()).reshaped({in_cut.rows(), 3});
  const Tensor over_mpi(Device{}, DType::f32, {out_cut.rows(), 3});
  const Tensor over_memory(Device{}, DType::f32, {out_cut.rows(), 3});
  mpi->all_to_all(stream, in, in_cut, over_mpi, out_cut);
  shared->all_to_all(stream, in, in_cut, over_memory, out_cut);
  EXPECT_TRUE(same_bits(over_mpi, over_memory));
}

TEST_F(SharedMemory, TellsRanksThatDisagreeOnTheRowsOfAnExchange) {
  const Cut right = Cut::of_counts(std::vector<int64_t>(static_cast<size_t>(ranks), 2));
  std::vector<int64_t> counts(static_cast<size_t>(ranks), 2);
  if (me == 0) counts.back() = 3;  // rank 0 waits for a row too many from the last
  const Cut wrong = Cut::of_counts(counts);
  const Tensor in(Device{}, DType::f32, {right.rows()}), out(Device{}, DType::f32, {wrong.rows()});
  const std::string error = error_of([&] { shared->all_to_all(stream, in, right, out, wrong); });
  EXPECT_THAT(error, HasSubstr("rank " + std::to_string(ranks - 1) +
                               " sends 8 bytes to rank 0, which expects 12"));
}

TEST_F(SharedMemory, NoticesRanksInDifferentCollectives) {
  const Tensor x(Device{}, DType::f32, {5});
  const std::string error = error_of([&] {
    if (me == 0)
      shared->broadcast(stream, x, 0, "weights");
    else
      shared->all_reduce(stream, x, x, Reduce::sum, "norm");
  });
  EXPECT_THAT(error, StartsWith("internal"));
  EXPECT_THAT(error, HasSubstr(me == 0 ? "rank 1 takes part in another collective than mine, "
                                         "broadcast of 20 bytes weights"
                                       : "rank 0 takes part in another"));
}

TEST_F(SharedMemory, CarriesLettersLargerThanTheirMailbox) {
  // To the right neighbour: a small one on channel 1 behind two large ones on channel 0, received
  // in the other order, while collectives go on.
  const int right = (me + 1) % ranks, left = (me + ranks - 1) % ranks;
  constexpr int64_t kLarge = 700'001, kSmall = 3;
  const auto letter = [](int from, int number, int64_t size) {
    return numbers_of(10 * from + number, DType::f32, size);
  };
  std::vector<std::unique_ptr<Pending>> pending;
  pending.push_back(shared->start_send(stream, letter(me, 0, kLarge), right, 0));
  pending.push_back(shared->start_send(stream, letter(me, 1, kLarge), right, 0));
  pending.push_back(shared->start_send(stream, letter(me, 2, kSmall), right, 1));
  const Tensor small(Device{}, DType::f32, {kSmall});
  shared->start_recv(stream, small, left, 1)->wait();
  EXPECT_TRUE(same_bits(small, letter(left, 2, kSmall)));
  EXPECT_EQ(shared->all_reduce(int64_t{1}, Reduce::sum), ranks);
  for (const int number : {0, 1}) {
    const Tensor large(Device{}, DType::f32, {kLarge});
    shared->start_recv(stream, large, left, 0)->wait();
    EXPECT_TRUE(same_bits(large, letter(left, number, kLarge))) << "letter " << number;
  }
  for (const auto& each : pending) each->wait();
}

// The receiver has it before the sender, who computes, looks at its messages again.
TEST_F(SharedMemory, CarriesALargeLetterWhileItsSenderComputes) {
  std::optional<TemporaryDirectory> directory;
  if (me == 0) directory.emplace();
  const std::string received =
      world().all().broadcast(directory ? directory->path() : "", 0, "directory") + "/received";
  constexpr int64_t kLarge = 1'000'001;
  if (me == 0) {
    const auto pending = shared->start_send(stream, numbers_of(0, DType::f32, kLarge), 1, 0);
    for (int tenths = 0; tenths < 300 && !std::filesystem::exists(received); ++tenths)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    EXPECT_TRUE(std::filesystem::exists(received));
    pending->wait();
  } else if (me == 1) {
    const Tensor letter(Device{}, DType::f32, {kLarge});
    shared->start_recv(stream, letter, 0, 0)->wait();
    EXPECT_TRUE(same_bits(letter, numbers_of(0, DType::f32, kLarge)));
    std::ofstream(received) << "yes";
  }
  world().all().barrier("end of test");
}

// Rank 0 started a large reduction and waits for a letter that the others send only when the
// reduction is over: it has to keep moving meanwhile.
void expect_progress(Stream& stream, Communicator& reduces, Communicator& writes) {
  const int me = reduces.rank(), ranks = reduces.size();
  const Tensor x = numbers_of(me, DType::f32, 1'000'003), token(Device{}, DType::i64, {1});
  const Cut cut = Cut::even(x.size(), ranks);
  const Tensor part(Device{}, DType::f32, {cut.part(me).extent});
  const auto reduction = reduces.start_reduce_scatter(stream, x, cut, part, Reduce::sum);
  if (me > 0) reduction->wait();
  *token.as<int64_t>() = me;
  if (me > 0) writes.start_send(stream, token, 0, 0)->wait();
  for (int from = 1; me == 0 && from < ranks; ++from) {
    writes.start_recv(stream, token, from, 0)->wait();
    EXPECT_EQ(*token.as<int64_t>(), from);
  }
  if (me == 0) reduction->wait();
}

TEST_F(SharedMemory, MovesEveryGroupWhileItWaitsForOne) {
  const auto other = world().group(everyone(), "other");
  expect_progress(stream, *shared, *other);
  expect_progress(stream, *shared, *mpi);
  expect_progress(stream, *mpi, *shared);
}

TEST_F(SharedMemory, KnowsWhoHasNotArrived) {
  std::vector<Doorbell> bells(static_cast<size_t>(ranks));  // nobody sleeps here
  std::vector<Doorbell*> doorbells;
  for (Doorbell& bell : bells) doorbells.push_back(&bell);
  SharedBoard board(*mpi, doorbells);
  if (me == 0) {
    EXPECT_THAT(board.missing(), IsEmpty()) << "nobody is ahead";
    board.arrive(0, {});
    std::vector<int> others = everyone();
    others.erase(others.begin());
    EXPECT_EQ(board.missing(), others);
    EXPECT_FALSE(board.complete(0));
  }
  mpi->barrier();
  if (me > 0) board.arrive(0, {});
  mpi->barrier();
  EXPECT_THAT(board.missing(), IsEmpty());
  EXPECT_TRUE(board.complete(0));
}

// Holds a limit on the size of files, which segments of shared memory are.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(SharedMemory, FallsBackToMpiWithOneWarningWhereThereIsNoRoom) {
  constexpr rlim_t kMebibyte = 1 << 20;  // the doorbells fit, a group's memory does not
  testing::internal::CaptureStderr();
  std::vector<std::string> transports;
  {
    const FileLimit limit(me == 0 ? kMebibyte : RLIM_INFINITY);
    Transports choice(*mpi, *mpi, one_node(), true);
    for (const char* label : {"first", "second"}) {
      const auto group = choice.best(world().mpi_group(everyone(), label), everyone());
      transports.push_back(group->transport());
      EXPECT_EQ(group->all_reduce(int64_t{1}, Reduce::sum), ranks);
    }
  }
  const std::string logged = testing::internal::GetCapturedStderr();
  EXPECT_THAT(transports, ElementsAre("mpi", "mpi"));
  const size_t warning = logged.find("talk over MPI, which is slower: ");
  EXPECT_EQ(warning != std::string::npos, me == 0) << logged;
  if (me != 0) return;
  EXPECT_THAT(logged, HasSubstr("shared memory: allocation of"));
  EXPECT_EQ(logged.find("talk over MPI", warning + 1), std::string::npos) << "one is enough";
}

TEST_F(SharedMemory, IsNotUsedWhereAnyRankAsksForMpi) {
  if (me == ranks - 1) setenv("TESSERA_TRANSPORT", "mpi", 1);
  Transports choice(*mpi, *mpi, one_node(), true);
  EXPECT_STREQ(choice.best(world().mpi_group(everyone(), "x"), everyone())->transport(), "mpi");
  setenv("TESSERA_TRANSPORT", "pigeons", 1);
  EXPECT_THAT(
      error_of([&] { Transports(*mpi, *mpi, one_node(), true); }),
      StartsWith("usage: TESSERA_TRANSPORT must be mpi, shared_memory or nccl, not pigeons"));
  unsetenv("TESSERA_TRANSPORT");
}

TEST_F(SharedMemory, IsNotUsedAcrossNodes) {
  Placement apart = one_node();
  apart.node.back() = 1;
  Transports choice(*mpi, *mpi, apart, true);
  EXPECT_STREQ(choice.best(world().mpi_group(everyone(), "x"), everyone())->transport(), "mpi");
  // Groups inside the nodes still are: all but the last rank, and the last one alone.
  std::vector<int> ours = everyone();
  ours.pop_back();
  if (me == ranks - 1) ours = {me};
  const auto inside = choice.best(world().mpi_group(ours, "inside"), ours);
  EXPECT_STREQ(inside->transport(), ours.size() > 1 ? "shared memory" : "mpi");
  EXPECT_EQ(inside->all_reduce(int64_t{1}, Reduce::sum), static_cast<int64_t>(ours.size()));
}

}  // namespace
}  // namespace tessera::test
