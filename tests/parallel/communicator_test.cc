// SPDX-License-Identifier: Apache-2.0
// One conformance suite for every Communicator: each test runs over every transport. NCCL's runs on
// the plug-in that $TESSERA_CUDA_PLUGIN names, else on the stand-ins of CUDA and NCCL.
#include "parallel/communicator.h"

#include <cstdlib>
#include <functional>
#include <numeric>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda_plugin.h"
#include "parallel/transport/dry_run_communicator.h"
#include "parallel/transport/gpu_groups.h"
#include "tests/support/device_communicator.h"
#include "tests/support/errors.h"
#include "tests/support/rank_world.h"
#include "tests/support/reductions.h"
#include "tests/support/thread_communicator.h"

namespace tessera::test {
namespace {

using testing::StartsWith;

// Fewer elements than ranks, odd, below and above the 16 KiB at which all_reduce changes its way,
// and enough for several threads.
constexpr int64_t kSizes[] = {0, 1, 3, 37, 4099, 9001, 70001};
constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16,
                            DType::f64, DType::i64,  DType::i32};

std::vector<int> everyone() {
  std::vector<int> ranks(static_cast<size_t>(world().size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

// Before anybody asks for the plugin, which is opened once.
const bool kHasPlugin = [] {
  setenv("TESSERA_CUDA_PLUGIN", TESSERA_CUDA_STAND_IN, 0);
  setenv("TESSERA_STAND_IN_DEVICES", "8", 0);
  return true;
}();

// All ranks of the job over NCCL, each on a device of its own.
struct NcclWorld {
  Device device{Device::Kind::cuda, world().local_rank() % cuda_accelerator().count()};
  std::unique_ptr<Communicator> over = world().mpi_group(everyone(), "world");
  std::unique_ptr<NcclRanks> ranks = nccl_ranks(*over, device, 20);
  std::unique_ptr<Communicator> all = ranks->group(*over);
};

// Why NCCL's tests cannot run here; empty: they can.
std::string lacks_nccl() {
  if (!cuda_plugin().problem.empty()) return cuda_plugin().problem;
  const int device = world().local_rank() % cuda_accelerator().count();
  return why_not_nccl(world().all(), {Device::Kind::cuda, device});
}

using Body = std::function<void(Communicator& all, Stream& stream)>;

struct EveryCommunicator : testing::TestWithParam<const char*> {
  // Runs body on every rank of this transport.
  void run(const Body& body) {
    Stream stream{Device{}};
    const std::string transport = GetParam();
    if (transport == "self") {
      body(*self_communicator("world"), stream);
    } else if (transport == "threads") {
      if (world().rank() != 0) return;
      run_ranks(world().size(), [&](Communicator& all) {
        Stream mine{Device{}};
        body(all, mine);
      });
    } else if (transport == "nccl") {
      if (const std::string why = lacks_nccl(); !why.empty()) GTEST_SKIP() << why;
      const NcclWorld nccl;
      body(*device_communicator(*nccl.all, nccl.device), stream);
    } else if (transport == "mpi") {
      body(*world().mpi_group(everyone(), "world"), stream);
    } else {
      body(*world().group(everyone(), "world"), stream);
    }
  }
};

// Ways to deal rows to ranks: in equal parts, all to one, and in unlike parts with gaps.
std::vector<Cut> cuts_of(int64_t rows, int64_t ranks) {
  std::vector<int64_t> unlike(static_cast<size_t>(ranks), 0);
  int64_t left = rows;
  for (int64_t rank = ranks - 1; rank > 0; rank -= 2) {
    unlike[static_cast<size_t>(rank)] = (left + 2) / 3;
    left -= (left + 2) / 3;
  }
  unlike[0] += left;
  return {Cut::even(rows, ranks), Cut::owned(rows, ranks, 0), Cut::owned(rows, ranks, ranks - 1),
          Cut::of_counts(unlike)};
}

// The rows of x, (R) or (R, C), that are one rank's.
Tensor part_of(const Tensor& x, const Interval& rows) {
  return x.dims() == 1 ? x.column_slice(rows.first, rows.extent)
                       : x.row_slice(rows.first, rows.extent);
}

INSTANTIATE_TEST_SUITE_P(Transport, EveryCommunicator,
                         testing::Values("self", "threads", "mpi", "shared_memory", "nccl"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(EveryCommunicator, KnowsItsPlace) {
  run([](Communicator& all, Stream&) {
    std::string transport = GetParam();
    if (transport == "shared_memory") transport = all.size() == 1 ? "self" : "shared memory";
    if (transport == "nccl") transport = all.transport();
    EXPECT_EQ(all.transport(), transport);
    EXPECT_EQ(transport.starts_with("NCCL "), GetParam() == std::string("nccl"));
    EXPECT_EQ(all.size(), GetParam() == std::string("self") ? 1 : world().size());
    EXPECT_GE(all.rank(), 0);
    EXPECT_LT(all.rank(), all.size());
    EXPECT_EQ(all.label(), "world");
  });
}

TEST_P(EveryCommunicator, AllReducesInOneFixedTreeWithTheSameBitsOnEveryRank) {
  run([](Communicator& all, Stream& stream) {
    for (const DType dtype : kTypes)
      for (const int64_t size : kSizes)
        for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
          if (op != Reduce::sum && size > 10000) continue;  // nothing new
          const Tensor in = numbers_of(all.rank(), dtype, size);
          const Tensor out(Device{}, dtype, {size});
          all.all_reduce(stream, in, out, op, "out of place");
          // Every rank expects the same bits, so they are equal on all.
          const Tensor expected = reduced(all.size(), dtype, size, op);
          EXPECT_TRUE(same_bits(out, expected)) << name(dtype) << " x " << size;
          EXPECT_TRUE(same_bits(in, numbers_of(all.rank(), dtype, size))) << "in was written";
          all.all_reduce(stream, in, in, op, "in place");
          EXPECT_TRUE(same_bits(in, expected)) << "in place: " << name(dtype) << " x " << size;
        }
  });
}

TEST_P(EveryCommunicator, ReduceScattersAnyCutAndGathersItInPlace) {
  run([](Communicator& all, Stream& stream) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::i32})
      for (const int64_t size : kSizes)
        for (const Cut& cut : cuts_of(size, all.size())) {
          const Tensor x = numbers_of(all.rank(), dtype, size);
          const Interval mine = cut.part(all.rank());
          const Tensor my_part = part_of(x, mine);
          const Tensor expected = reduced(all.size(), dtype, size, Reduce::sum);
          all.reduce_scatter(stream, x, cut, my_part, Reduce::sum);
          EXPECT_TRUE(same_bits(my_part, part_of(expected, mine)))
              << name(dtype) << " x " << to_string(cut);
          all.all_gather(stream, my_part, cut, x);
          EXPECT_TRUE(same_bits(x, expected))
              << "gathered: " << name(dtype) << " x " << to_string(cut);
        }
  });
}

TEST_P(EveryCommunicator, CutsAlongRowsNotElements) {
  run([](Communicator& all, Stream& stream) {
    constexpr int64_t kRows = 7, kColumns = 3;  // 21 elements would be cut elsewhere
    for (const Cut& cut : cuts_of(kRows, all.size())) {
      const Interval mine = cut.part(all.rank());
      const Tensor in = numbers_of(all.rank(), DType::f32, kRows * kColumns);
      const Tensor part(Device{}, DType::f32, {mine.extent, kColumns});
      const Tensor whole(Device{}, DType::f32, {kRows, kColumns});
      const Tensor expected = reduced(all.size(), DType::f32, in.size(), Reduce::sum);
      all.reduce_scatter(stream, in.reshaped({kRows, kColumns}), cut, part, Reduce::sum);
      all.all_gather(stream, part, cut, whole);
      EXPECT_TRUE(same_bits(part, part_of(expected.reshaped({kRows, kColumns}), mine)));
      EXPECT_TRUE(same_bits(whole, expected)) << to_string(cut);
    }
  });
}

TEST_P(EveryCommunicator, TakesATensorWithoutABufferForAnEmptyPart) {
  run([](Communicator& all, Stream& stream) {
    const Cut cut = Cut::owned(5, all.size(), 0);
    const Tensor in = numbers_of(all.rank(), DType::bf16, 5);
    const Tensor part = all.rank() == 0 ? Tensor(Device{}, DType::bf16, {5}) : Tensor();
    const Tensor whole(Device{}, DType::bf16, {5});
    all.reduce_scatter(stream, in, cut, part, Reduce::max);
    all.all_gather(stream, part, cut, whole);
    EXPECT_TRUE(same_bits(whole, reduced(all.size(), DType::bf16, 5, Reduce::max)));
    all.all_to_all(stream, Tensor(), Cut::even(0, all.size()), Tensor(), Cut::even(0, all.size()));
  });
}

TEST_P(EveryCommunicator, ReduceScattersNarrowNumbersIntoUnroundedSums) {
  run([](Communicator& all, Stream& stream) {
    for (const DType dtype : {DType::bf16, DType::f16}) {
      constexpr int64_t kSize = 1001;
      const Cut cut = Cut::even(kSize, all.size());
      const Interval mine = cut.part(all.rank());
      const Tensor out(Device{}, DType::f32, {mine.extent});
      all.reduce_scatter(stream, numbers_of(all.rank(), dtype, kSize), cut, out, Reduce::sum);
      const Tensor expected = reduced(all.size(), dtype, kSize, Reduce::sum, false);
      EXPECT_TRUE(same_bits(out, part_of(expected, mine))) << name(dtype);
    }
  });
}

TEST_P(EveryCommunicator, CompletesSeveralReduceScattersInAnyOrder) {
  run([](Communicator& all, Stream& stream) {
    // Equal sizes follow each other: what one has in flight must not be given to the next.
    const std::vector<int64_t> sizes = {4000, 4000, 4000, 13001, 13001, 1000};
    const auto first_of = [](size_t i) { return 10 * static_cast<int>(i); };
    const auto cut_of = [&](size_t i) { return Cut::even(sizes[i], all.size()); };
    std::vector<Tensor> inputs, outputs;
    std::vector<std::unique_ptr<Pending>> pending;
    for (size_t i = 0; i < sizes.size(); ++i) {
      inputs.push_back(numbers_of(first_of(i) + all.rank(), DType::f32, sizes[i]));
      outputs.push_back(Tensor(Device{}, DType::f32, {cut_of(i).part(all.rank()).extent}));
      pending.push_back(
          all.start_reduce_scatter(stream, inputs.back(), cut_of(i), outputs.back(), Reduce::sum));
      for (const auto& other : pending) other->test();
    }
    for (size_t i = sizes.size(); i-- > 0;) {
      pending[i]->wait();
      const Tensor expected =
          reduced(all.size(), DType::f32, sizes[i], Reduce::sum, true, first_of(i));
      EXPECT_TRUE(same_bits(outputs[i], part_of(expected, cut_of(i).part(all.rank()))))
          << "reduction " << i;
    }
  });
}

TEST_P(EveryCommunicator, SendsEachPartToItsRank) {
  run([](Communicator& all, Stream& stream) {
    // Rank f sends rank t (2 f + 3 t) % 5 rows of two elements: some none, none alike.
    const int64_t ranks = all.size(), me = all.rank();
    const auto count = [](int64_t from, int64_t to) { return (2 * from + 3 * to) % 5; };
    const auto element = [](int64_t from, int64_t to, int64_t i) {
      return from * 1000 + to * 100 + i;
    };
    std::vector<int64_t> sent, received;
    for (int64_t peer = 0; peer < ranks; ++peer) {
      sent.push_back(count(me, peer));
      received.push_back(count(peer, me));
    }
    const Cut in_cut = Cut::of_counts(sent), out_cut = Cut::of_counts(received);
    const Tensor in(Device{}, DType::i64, {in_cut.rows(), 2}),
        out(Device{}, DType::i64, {out_cut.rows(), 2});
    for (int64_t to = 0; to < ranks; ++to)
      for (int64_t i = 0; i < 2 * in_cut.part(to).extent; ++i)
        in.as<int64_t>()[2 * in_cut.part(to).first + i] = element(me, to, i);
    all.all_to_all(stream, in, in_cut, out, out_cut);
    for (int64_t from = 0; from < ranks; ++from)
      for (int64_t i = 0; i < 2 * out_cut.part(from).extent; ++i)
        EXPECT_EQ(out.as<int64_t>()[2 * out_cut.part(from).first + i], element(from, me, i));
  });
}

TEST_P(EveryCommunicator, BroadcastsFromAnyRoot) {
  run([](Communicator& all, Stream& stream) {
    for (const int64_t size : kSizes)
      for (int root = 0; root < all.size(); ++root) {
        const Tensor x = numbers_of(all.rank(), DType::bf16, size);
        all.broadcast(stream, x, root);
        EXPECT_TRUE(same_bits(x, numbers_of(root, DType::bf16, size))) << "from " << root;
      }
  });
}

// Sends to both neighbours on two channels each, with receives started in the other order; over
// NCCL, which has no channels, in the order in which each neighbour sends.
void exchange_with_neighbours(Communicator& all, Stream& stream) {
  const int right = (all.rank() + 1) % all.size();
  const int left = (all.rank() + all.size() - 1) % all.size();
  const bool in_order = std::string(all.transport()).starts_with("NCCL");
  const std::vector<int> channels = in_order ? std::vector<int>{0, 1} : std::vector<int>{1, 0};
  // To itself, a rank is both neighbours.
  const std::vector<bool> sides =
      in_order && left == right ? std::vector<bool>{true, false} : std::vector<bool>{false, true};
  std::vector<Tensor> received;
  std::vector<std::unique_ptr<Pending>> pending;
  const auto size = [](bool to_right, int channel) { return 10 + channel + (to_right ? 5000 : 0); };
  for (const bool to_right : {true, false})
    for (const int channel : {0, 1})
      pending.push_back(all.start_send(
          stream, numbers_of(all.rank() + 10 * channel, DType::f32, size(to_right, channel)),
          to_right ? right : left, channel + (to_right ? 0 : 2)));
  for (const bool to_right : sides)
    for (const int channel : channels) {
      received.emplace_back(Device{}, DType::f32,
                            std::initializer_list<int64_t>{size(to_right, channel)});
      pending.push_back(all.start_recv(stream, received.back(), to_right ? left : right,
                                       channel + (to_right ? 0 : 2)));
    }
  all.all_reduce(int64_t{1}, Reduce::sum, "while messages are on their way");
  for (const auto& each : pending) each->wait();
  size_t next = 0;
  for (const bool to_right : sides)
    for (const int channel : channels) {
      const int from = to_right ? left : right;
      EXPECT_TRUE(same_bits(received[next++],
                            numbers_of(from + 10 * channel, DType::f32, size(to_right, channel))))
          << "from rank " << from << ", channel " << channel;
    }
}

TEST_P(EveryCommunicator, SendsAndReceivesOnSeveralChannelsAtOnce) {
  run([](Communicator& all, Stream& stream) {
    if (all.transport() != std::string("self")) return exchange_with_neighbours(all, stream);
    const Tensor x(Device{}, DType::f32, {1});
    EXPECT_THAT(error_of([&] { all.start_send(stream, x, 0, 0); }), StartsWith("internal"));
    EXPECT_THAT(error_of([&] { all.start_recv(stream, x, 0, 0); }), StartsWith("internal"));
  });
}

void expect_refusals(Communicator& all, Stream& stream) {
  const Tensor in(Device{}, DType::f32, {40}), out(Device{}, DType::f32, {41});
  const Cut cut = Cut::even(40, all.size()), more = Cut::even(40, all.size() + 1);
  const auto refused = [](const auto& call) {
    EXPECT_THAT(error_of(call), StartsWith("internal"));
  };
  refused([&] { all.reduce_scatter(stream, in, cut, out, Reduce::sum); });
  refused([&] { all.reduce_scatter(stream, out, cut, in, Reduce::sum); });
  refused([&] { all.reduce_scatter(stream, in, more, in, Reduce::sum); });
  refused([&] { all.all_gather(stream, out, cut, in); });
  refused([&] { all.all_gather(stream, in, cut, out); });
  refused([&] { all.all_reduce(stream, in, out, Reduce::sum); });
  refused([&] { all.all_to_all(stream, in, cut, in, cut); });
  refused([&] { all.all_to_all(stream, in, cut, out, cut); });
  const Tensor wide(Device{}, DType::f32, {10, 4});
  refused([&] { all.broadcast(stream, wide.column_slice(0, 2), 0); });
  const Tensor halves(Device{}, DType::bf16, {40});
  refused([&] {
    all.reduce_scatter(stream, in, Cut::owned(40, all.size(), all.rank()), halves, Reduce::sum);
  });
}

TEST_P(EveryCommunicator, RefusesArgumentsThatDoNotFit) {
  run(expect_refusals);
}

TEST(DryRunCommunicator, RefusesArgumentsThatDoNotFit) {
  Stream stream{Device{}};
  const auto calls = std::make_shared<DryCalls>();
  for (const int rank : {0, 2})
    expect_refusals(*dry_run_communicator({0, 1, 2, 3}, rank, "world", calls), stream);
  EXPECT_TRUE(calls->empty()) << "what is refused is not noted";
}

// The conveniences for host values, which every transport inherits.
void expect_host_values(Communicator& all) {
  const int64_t n = all.size(), me = all.rank();
  constexpr int64_t kLarge = int64_t{1} << 60;  // a double would lose the last bits
  EXPECT_EQ(all.all_reduce(me == 0 ? kLarge + 1 : 1, Reduce::sum), kLarge + n);
  EXPECT_EQ(all.all_reduce(me, Reduce::max), n - 1);
  EXPECT_EQ(all.all_reduce(-me, Reduce::min), 1 - n);

  EXPECT_TRUE(all.agree(true));
  EXPECT_FALSE(all.agree(false));
  EXPECT_EQ(all.agree(me != n - 1), false) << "one rank of " << n << " disagreed";

  for (int root = 0; root < n; ++root)
    for (const std::string& text :
         {std::string(), std::string("x"), std::string("a\0b", 3), std::string(70001, 'q')})
      EXPECT_EQ(all.broadcast(me == root ? text : "not the root's", root), text);

  const auto text_of = [](int64_t rank) {  // rank 0's is empty
    return std::string(static_cast<size_t>(rank * 3), static_cast<char>('a' + rank));
  };
  const std::vector<std::string> texts = all.all_gather(text_of(me));
  ASSERT_EQ(static_cast<int64_t>(texts.size()), n);
  for (int64_t rank = 0; rank < n; ++rank)
    EXPECT_EQ(texts[static_cast<size_t>(rank)], text_of(rank));
  EXPECT_EQ(all.all_gather(std::string()), std::vector<std::string>(static_cast<size_t>(n)));
  all.barrier();
}

TEST_P(EveryCommunicator, CarriesHostValuesAndTexts) {
  run([](Communicator& all, Stream&) { expect_host_values(all); });
}

TEST(Nccl, LeavesHostValuesToTheHost) {
  if (const std::string why = lacks_nccl(); !why.empty()) GTEST_SKIP() << why;
  expect_host_values(*NcclWorld().all);
}

TEST(ThreadCommunicator, HasAsManyRanksAsAsked) {
  for (const int ranks : {1, 3}) run_ranks(ranks, expect_host_values);
}

TEST(World, GivesDisjointGroupsTheirOwnRanks) {
  // Even and odd ranks, in descending order: the group's order is the list's.
  std::vector<int> ranks;
  for (int rank = world().size() - 1; rank >= 0; --rank)
    if (rank % 2 == world().rank() % 2) ranks.push_back(rank);
  const auto group = world().group(ranks, "parity");
  EXPECT_EQ(group->size(), static_cast<int>(ranks.size()));
  EXPECT_EQ(ranks.at(static_cast<size_t>(group->rank())), world().rank());
  int64_t sum = 0;
  for (const int rank : ranks) sum += rank;
  EXPECT_EQ(group->all_reduce(int64_t{world().rank()}, Reduce::sum), sum);
  EXPECT_EQ(group->label(), "parity");
}

}  // namespace
}  // namespace tessera::test
