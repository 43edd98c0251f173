// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/parameter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/communicators.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

Parameter weight(const std::string& name, const ShardSpec& shard, double deviation = 0.5) {
  Parameter parameter;
  parameter.name = name;
  parameter.shard = shard;
  parameter.init_deviation = deviation;
  return parameter;
}

// The initial values of one parameter of which this rank holds `shard`.
std::vector<double> initial(const std::string& name, const ShardSpec& shard, uint64_t seed = 1,
                            DType dtype = DType::f32) {
  ParameterStore store;
  store.add(weight("something before it", ShardSpec::whole({shard.box.extent[0] + 1, 3})));
  store.add(weight(name, shard));
  store.allocate(dtype == DType::f64 ? kReference : kCpu, dtype);
  store.initialize(seed);
  return values_of(master(store, 1));
}

TEST(ParameterStore, DrawsTheSameWeightsHoweverTheyAreCut) {
  const ShardSpec whole = ShardSpec::whole({7, 10});
  const std::vector<double> all = initial("w", whole);
  for (const int dim : {0, 1})
    for (const int64_t half : {0, 1}) {
      const ShardSpec part = whole.split(dim, half, 2);
      const std::vector<double> mine = initial("w", part);
      size_t next = 0;
      for (int64_t r = 0; r < part.box.extent[0]; ++r)
        for (int64_t c = 0; c < part.box.extent[1]; ++c)
          EXPECT_EQ(
              mine[next++],
              all[static_cast<size_t>((part.box.offset[0] + r) * 10 + part.box.offset[1] + c)])
              << "half " << half << " along dim " << dim;
    }
}

TEST(ParameterStore, DrawsBySeedAndNameWithTheAskedDeviation) {
  const ShardSpec large = ShardSpec::whole({200, 100});
  const std::vector<double> drawn = initial("w", large);
  EXPECT_NE(drawn, initial("w", large, 2));
  EXPECT_NE(drawn, initial("v", large));
  EXPECT_EQ(drawn, initial("w", large, 1, DType::f64)) << "the reference starts from the same";
  double sum = 0, squares = 0;
  for (const double value : drawn) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 20000, 0, 0.02);
  EXPECT_NEAR(std::sqrt(squares / 20000), 0.5, 0.01);
}

TEST(ParameterStore, StartsParametersWithoutDeviationAtOne) {
  ParameterStore store;
  store.add(weight("norm", ShardSpec::whole({5}), 0));
  store.allocate(kCpu, DType::bf16);
  store.initialize(1);
  EXPECT_EQ(values_of(master(store, 0)), std::vector<double>(5, 1));
  EXPECT_EQ(values_of(store.value({0, 1})), std::vector<double>(5, 1)) << "published";
}

TEST(ParameterStore, LaysAStackOutAsOneMatrix) {
  ParameterStore store;
  store.add(weight("a", ShardSpec::whole({3, 5})));
  const Stack stack =
      store.add({weight("b", ShardSpec::whole({2, 5})), weight("c", ShardSpec::whole({4, 5}))});
  store.allocate(kCpu, DType::bf16);
  store.initialize(1);
  const Tensor value = store.value(stack), grad = store.grad(stack);
  EXPECT_EQ(value.rows(), 6);
  EXPECT_EQ(value.columns(), 5);
  EXPECT_EQ(value.dtype(), DType::bf16);
  EXPECT_EQ(grad.dtype(), DType::f32);
  const std::vector<double> both = values_of(value);
  std::vector<double> expected = values_of(store.value(piece(store, 1)));
  for (const double element : values_of(store.value(piece(store, 2)))) expected.push_back(element);
  EXPECT_EQ(both, expected);
  EXPECT_THAT(
      error_of([] {
        ParameterStore other;
        other.add({weight("a", ShardSpec::whole({3, 5})), weight("b", ShardSpec::whole({3, 4}))});
      }),
      HasSubstr("different widths"));
  EXPECT_THAT(error_of([&] { store.add(weight("late", ShardSpec::whole({1}))); }),
              HasSubstr("after allocate"));
}

TEST(ParameterStore, GivesASecondUseItsOwnGradientAndTheSameValue) {
  ParameterStore store;
  const Stack table = store.add(weight("table", ShardSpec::whole({2, 3})));
  const Stack use = store.add_use(table);
  store.allocate(kCpu, DType::f32);
  store.initialize(1);
  EXPECT_EQ(values_of(store.value(use)), values_of(store.value(table)));
  Stream& stream = cpu_stream();
  fill(stream, 2, store.grad(table));
  fill(stream, 40, store.grad(use));
  EXPECT_EQ(values_of(store.grad(table)), std::vector<double>(6, 2));
  EXPECT_EQ(store.pieces().size(), 1U) << "a use is no parameter";
  store.clear_grads();
  EXPECT_EQ(values_of(store.grad(use)), std::vector<double>(6, 0));
}

// A matrix that is cut by rows, a stack whose cut runs through its members, and small ones.
struct Dealt : testing::TestWithParam<int> {
  static constexpr int kRanks = 3;
  ParameterStore store(int rank) const {
    ParameterStore dealt;
    dealt.add(weight("large", ShardSpec::whole({1000, 100})));
    dealt.add({weight("b", ShardSpec::whole({101, 1000})), weight("c", ShardSpec::whole({7, 1000})),
               weight("d", ShardSpec::whole({92, 1000}))});
    dealt.add(weight("norm", ShardSpec::whole({70000})));
    dealt.add(weight("small", ShardSpec::whole({8, 9})));
    dealt.allocate(kCpu, DType::bf16, {.stage = GetParam(), .rank = rank, .ranks = kRanks});
    dealt.initialize(5);
    return dealt;
  }
};

TEST_P(Dealt, EveryElementIsTrainedByOneRankAndStartsAsIfWhole) {
  ParameterStore whole;
  whole.add(weight("large", ShardSpec::whole({1000, 100})));
  whole.add({weight("b", ShardSpec::whole({101, 1000})), weight("c", ShardSpec::whole({7, 1000})),
             weight("d", ShardSpec::whole({92, 1000}))});
  whole.add(weight("norm", ShardSpec::whole({70000})));
  whole.add(weight("small", ShardSpec::whole({8, 9})));
  whole.allocate(kCpu, DType::bf16);
  whole.initialize(5);
  std::vector<int64_t> trained(static_cast<size_t>(whole.count()), 0);
  for (int rank = 0; rank < kRanks; ++rank) {
    const ParameterStore mine = store(rank);
    for (const Piece& piece : mine.pieces()) {
      trained[static_cast<size_t>(piece.parameter)] += piece.whole.count;
      const std::vector<double> all = values_of(master(whole, piece.parameter));
      const std::vector<double> part = values_of(mine.master(piece));
      const int64_t first = piece.shard.box.offset[0] * (piece.rows > 1 ? piece.columns : 1);
      for (size_t i = 0; i < part.size(); ++i)
        ASSERT_EQ(part[i], all[static_cast<size_t>(first) + i])
            << mine.at(piece.parameter).name << " " << to_string(piece.shard.box);
    }
  }
  for (const Parameter& parameter : whole.all())
    EXPECT_EQ(trained[static_cast<size_t>(parameter.index)], parameter.range.count)
        << parameter.name;
}

INSTANTIATE_TEST_SUITE_P(ZeroStages, Dealt, testing::Values(1, 2, 3));

TEST(ParameterStore, RefusesWeightsThatAreNotGathered) {
  ParameterStore store;
  const Stack stack = store.add(weight("w", ShardSpec::whole({3, 5})));
  store.allocate(kCpu, DType::f32, {.stage = 3, .rank = 0, .ranks = 1});
  store.initialize(1);
  Communicators comms;
  EXPECT_THAT(error_of([&] { store.value(stack); }), HasSubstr("used before gather_weights(): w"));
  store.gather_weights(cpu_stream(), comms, 0);
  EXPECT_EQ(values_of(store.value(stack)), values_of(master(store, 0)));
  store.release_weights(0);
  EXPECT_THAT(error_of([&] { store.release_weights(0); }), HasSubstr("released twice"));
}

}  // namespace
}  // namespace tessera::test
