// SPDX-License-Identifier: Apache-2.0
// One conformance suite for every Communicator. What a reduction must give is computed here, on
// every rank, from everybody's numbers, by a pairwise tree written down a second time.
#include "parallel/communicator.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/random.h"
#include "parallel/shard.h"
#include "tests/support/errors.h"
#include "tests/support/rank_world.h"
#include "tests/support/thread_communicator.h"

namespace tessera::test {
namespace {

using testing::StartsWith;

// Fewer elements than ranks, odd, below and above the 16 KiB at which all_reduce changes its way,
// and enough for several threads.
constexpr int64_t kSizes[] = {1, 3, 37, 4099, 9001, 70001};
constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16, DType::f64, DType::i64};

template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, f16>, float, T>;

template <typename T>
T drawn(const Philox& philox, uint64_t index) {
  const double value = 8 * philox.uniform(index) - 4;
  if constexpr (std::is_same_v<T, int64_t>)
    return static_cast<int64_t>(philox.bits(index) >> 4) - (int64_t{1} << 58);
  else if constexpr (std::is_same_v<T, double>)
    return value;
  else
    return Narrow<T>::from(static_cast<float>(value));
}

template <typename T>
Wide<T> wide(T value) {
  if constexpr (std::is_same_v<T, Wide<T>>)
    return value;
  else
    return to_float(value);
}

template <typename W>
W pair(W a, W b, Reduce op) {
  return op == Reduce::sum ? a + b : op == Reduce::max ? std::max(a, b) : std::min(a, b);
}

template <typename W>
W tree(std::vector<W> parts, Reduce op) {
  while (parts.size() > 1) {
    std::vector<W> level;
    for (size_t i = 0; i < parts.size(); i += 2)
      level.push_back(i + 1 < parts.size() ? pair(parts[i], parts[i + 1], op) : parts[i]);
    parts = std::move(level);
  }
  return parts[0];
}

// Calls function with the C++ type of a dtype that is summed over ranks.
template <typename Function>
void with_type(DType dtype, Function&& function) {
  visit(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!std::is_same_v<T, f8_e4m3> && !std::is_same_v<T, int32_t>) function(tag);
  });
}

Tensor numbers_of(int rank, DType dtype, int64_t size) {
  const Tensor x(Device{}, dtype, {size});
  const Philox philox{static_cast<uint64_t>(rank) + 1, 7};
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < size; ++i) x.as<T>()[i] = drawn<T>(philox, static_cast<uint64_t>(i));
  });
  return x;
}

// The reduction of numbers_of() all ranks, from `first` on; `rounded`: in dtype, else in its
// accumulation type.
Tensor reduced(int ranks, DType dtype, int64_t size, Reduce op, bool rounded = true,
               int first = 0) {
  const Tensor out(Device{}, rounded ? dtype : accumulation_type(dtype), {size});
  std::vector<Tensor> all;
  for (int rank = 0; rank < ranks; ++rank) all.push_back(numbers_of(first + rank, dtype, size));
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < size; ++i) {
      std::vector<Wide<T>> parts;
      for (const Tensor& x : all) parts.push_back(wide(x.as<T>()[i]));
      const Wide<T> value = tree(parts, op);
      if constexpr (std::is_same_v<T, Wide<T>>)
        out.as<T>()[i] = value;
      else if (rounded)
        out.as<T>()[i] = Narrow<T>::from(value);
      else
        out.as<float>()[i] = value;
    }
  });
  return out;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), static_cast<size_t>(a.bytes())) == 0;
}

struct EveryCommunicator : testing::TestWithParam<const char*> {
  std::unique_ptr<Communicator> own;  // of one rank
  Communicator* all = nullptr;
  Stream stream{Device{}};

  EveryCommunicator() {
    if (GetParam() == std::string("self")) own = self_communicator("test");
    all = own ? own.get() : &world().all();
  }
  Interval part(int64_t size) const { return even_part(size, all->rank(), all->size()); }
};

INSTANTIATE_TEST_SUITE_P(Transport, EveryCommunicator, testing::Values("self", "mpi"),
                         [](const auto& each) { return std::string(each.param); });

TEST_P(EveryCommunicator, KnowsItsPlace) {
  EXPECT_STREQ(all->transport(), GetParam());
  EXPECT_EQ(all->size(), own ? 1 : world().size());
  EXPECT_EQ(all->rank(), own ? 0 : world().rank());
  EXPECT_EQ(all->label(), own ? "test" : "world");
}

TEST_P(EveryCommunicator, AllReducesInOneFixedTreeWithTheSameBitsOnEveryRank) {
  for (const DType dtype : kTypes)
    for (const int64_t size : kSizes)
      for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
        const Tensor in = numbers_of(all->rank(), dtype, size);
        const Tensor out(Device{}, dtype, {size});
        all->all_reduce(stream, in, out, op, "out of place");
        // Every rank expects the same bits, so they are equal on all.
        const Tensor expected = reduced(all->size(), dtype, size, op);
        EXPECT_TRUE(same_bits(out, expected)) << name(dtype) << " x " << size;
        EXPECT_TRUE(same_bits(in, numbers_of(all->rank(), dtype, size))) << "in was written";
        all->all_reduce(stream, in, in, op, "in place");
        EXPECT_TRUE(same_bits(in, expected)) << "in place: " << name(dtype) << " x " << size;
      }
}

TEST_P(EveryCommunicator, ReduceScattersUnevenPartsAndGathersThemInPlace) {
  for (const DType dtype : kTypes)
    for (const int64_t size : kSizes) {
      const Tensor x = numbers_of(all->rank(), dtype, size).flat();
      const Interval mine = part(size);
      const Tensor my_part = x.column_slice(mine.first, mine.extent);
      const Tensor expected = reduced(all->size(), dtype, size, Reduce::sum).flat();
      all->reduce_scatter(stream, x, my_part, Reduce::sum);
      EXPECT_TRUE(same_bits(my_part, expected.column_slice(mine.first, mine.extent)))
          << name(dtype) << " x " << size;
      all->all_gather(stream, my_part, x);
      EXPECT_TRUE(same_bits(x, expected)) << "gathered: " << name(dtype) << " x " << size;
    }
}

TEST_P(EveryCommunicator, ReduceScattersNarrowNumbersIntoUnroundedSums) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    constexpr int64_t kSize = 1001;
    const Interval mine = part(kSize);
    const Tensor out(Device{}, DType::f32, {mine.extent});
    all->reduce_scatter(stream, numbers_of(all->rank(), dtype, kSize), out, Reduce::sum);
    const Tensor expected = reduced(all->size(), dtype, kSize, Reduce::sum, false).flat();
    EXPECT_TRUE(same_bits(out, expected.column_slice(mine.first, mine.extent))) << name(dtype);
  }
}

TEST_P(EveryCommunicator, CompletesSeveralReduceScattersInAnyOrder) {
  // Equal sizes follow each other: what one has in flight must not be given to the next.
  const std::vector<int64_t> sizes = {4000, 4000, 4000, 13001, 13001, 1000};
  const auto first_of = [](size_t i) { return 10 * static_cast<int>(i); };
  std::vector<Tensor> inputs, outputs;
  std::vector<std::unique_ptr<Pending>> pending;
  for (size_t i = 0; i < sizes.size(); ++i) {
    inputs.push_back(numbers_of(first_of(i) + all->rank(), DType::f32, sizes[i]));
    outputs.push_back(Tensor(Device{}, DType::f32, {part(sizes[i]).extent}));
    pending.push_back(
        all->start_reduce_scatter(stream, inputs.back(), outputs.back(), Reduce::sum));
    for (const auto& other : pending) other->test();
  }
  for (size_t i = sizes.size(); i-- > 0;) {
    pending[i]->wait();
    const Interval mine = part(sizes[i]);
    const Tensor expected =
        reduced(all->size(), DType::f32, sizes[i], Reduce::sum, true, first_of(i)).flat();
    EXPECT_TRUE(same_bits(outputs[i], expected.column_slice(mine.first, mine.extent)))
        << "reduction " << i;
  }
}

TEST_P(EveryCommunicator, SendsEachPartToItsRank) {
  constexpr int64_t kPart = 5;
  const int ranks = all->size();
  const Tensor in(Device{}, DType::i64, {ranks * kPart}),
      out(Device{}, DType::i64, {ranks * kPart});
  for (int64_t i = 0; i < in.size(); ++i) in.as<int64_t>()[i] = all->rank() * 1000 + i;
  all->all_to_all(stream, in, out);
  for (int from = 0; from < ranks; ++from)
    for (int64_t i = 0; i < kPart; ++i)
      EXPECT_EQ(out.as<int64_t>()[from * kPart + i], from * 1000 + all->rank() * kPart + i);
}

TEST_P(EveryCommunicator, BroadcastsFromAnyRoot) {
  for (int root = 0; root < all->size(); ++root) {
    const Tensor x = numbers_of(all->rank(), DType::bf16, 999);
    all->broadcast(stream, x, root);
    EXPECT_TRUE(same_bits(x, numbers_of(root, DType::bf16, 999))) << "from " << root;
  }
}

TEST_P(EveryCommunicator, SendsAndReceivesOnSeveralChannelsAtOnce) {
  if (own) {
    const Tensor x(Device{}, DType::f32, {1});
    EXPECT_THAT(error_of([&] { all->start_send(stream, x, 0, 0); }), StartsWith("internal"));
    EXPECT_THAT(error_of([&] { all->start_recv(stream, x, 0, 0); }), StartsWith("internal"));
    return;
  }
  const int right = (all->rank() + 1) % all->size();
  const int left = (all->rank() + all->size() - 1) % all->size();
  std::vector<Tensor> received;
  std::vector<std::unique_ptr<Pending>> pending;
  // Sizes differ by direction and channel, and receives are started in the other order.
  const auto size = [](bool to_right, int channel) { return 10 + channel + (to_right ? 5000 : 0); };
  for (const bool to_right : {true, false})
    for (const int channel : {0, 1})
      pending.push_back(all->start_send(
          stream, numbers_of(all->rank() + 10 * channel, DType::f32, size(to_right, channel)),
          to_right ? right : left, channel + (to_right ? 0 : 2)));
  for (const bool to_right : {false, true})
    for (const int channel : {1, 0}) {
      received.emplace_back(Device{}, DType::f32,
                            std::initializer_list<int64_t>{size(to_right, channel)});
      pending.push_back(all->start_recv(stream, received.back(), to_right ? left : right,
                                        channel + (to_right ? 0 : 2)));
    }
  for (const auto& each : pending) each->wait();
  size_t next = 0;
  for (const bool to_right : {false, true})
    for (const int channel : {1, 0}) {
      const int from = to_right ? left : right;
      EXPECT_TRUE(same_bits(received[next++],
                            numbers_of(from + 10 * channel, DType::f32, size(to_right, channel))))
          << "from rank " << from << ", channel " << channel;
    }
}

TEST_P(EveryCommunicator, RefusesAPartThatIsNotMine) {
  const Tensor in(Device{}, DType::f32, {40}), out(Device{}, DType::f32, {41});
  EXPECT_NE(error_of([&] { all->reduce_scatter(stream, in, out, Reduce::sum); }), "no error");
  EXPECT_NE(error_of([&] { all->all_gather(stream, in, out); }), "no error");
  EXPECT_NE(error_of([&] { all->all_reduce(stream, in, out, Reduce::sum); }), "no error");
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
  expect_host_values(*all);
}

TEST(ThreadCommunicator, CarriesHostValuesAndTexts) {
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
