// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/parameter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"
#include "tests/support/numeric.h"

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
  return values_of(store.view(store.masters(), 1));
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
  EXPECT_EQ(values_of(store.view(store.masters(), 0)), std::vector<double>(5, 1));
  EXPECT_EQ(values_of(store.value({0, 1})), std::vector<double>(5, 1)) << "published";
}

TEST(ParameterStore, LaysAStackOutAsOneMatrix) {
  ParameterStore store;
  store.add(weight("a", ShardSpec::whole({3, 5})));
  const Stack stack =
      store.add({weight("b", ShardSpec::whole({2, 5})), weight("c", ShardSpec::whole({4, 5}))});
  store.allocate(kCpu, DType::bf16);
  store.initialize(1);
  EXPECT_EQ(store.num_elements(), 45);
  const Tensor value = store.value(stack), grad = store.grad(stack);
  EXPECT_EQ(value.rows(), 6);
  EXPECT_EQ(value.columns(), 5);
  EXPECT_EQ(value.dtype(), DType::bf16);
  EXPECT_EQ(grad.dtype(), DType::f32);
  const std::vector<double> both = values_of(value);
  std::vector<double> expected = values_of(store.view(store.values(), 1));
  for (const double element : values_of(store.view(store.values(), 2))) expected.push_back(element);
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

TEST(ParameterStore, FoldsTheGradientOfASecondUseOnce) {
  ParameterStore store;
  const Stack other = store.add(weight("other", ShardSpec::whole({2, 2})));
  const Stack table = store.add(weight("table", ShardSpec::whole({2, 3})));
  const Stack use = store.add_use(table);
  store.allocate(kCpu, DType::f32);
  store.initialize(1);
  EXPECT_EQ(store.num_elements(), 10) << "a use is no parameter";
  EXPECT_EQ(values_of(store.value(use)), values_of(store.value(table)));
  Stream& stream = cpu_stream();
  fill(stream, 1, store.grad(other));
  fill(stream, 2, store.grad(table));
  fill(stream, 40, store.grad(use));
  store.fold_uses(stream, 0);
  EXPECT_EQ(values_of(store.grad(table)), std::vector<double>(6, 2)) << "not its parameter";
  store.fold_uses(stream, 1);
  EXPECT_EQ(values_of(store.grad(table)), std::vector<double>(6, 42));
  EXPECT_EQ(values_of(store.grad(other)), std::vector<double>(4, 1));
  store.zero_grads(stream);
  EXPECT_EQ(values_of(store.grad(use)), std::vector<double>(6, 0));
}

}  // namespace
}  // namespace tessera::test
