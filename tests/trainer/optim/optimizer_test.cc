// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/copy.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"
#include "trainer/optim/adamw.h"

namespace tessera::test {
namespace {

struct Optimizers : testing::Test {
  ParameterStore store;
  OptimizerOptions options;

  Optimizers() {
    options.weight_decay = 0.5;
    // Two runs of matrices with norms between them, and sizes that leave padding.
    add("a", {3, 3}, true);
    add("norm1", {5}, false);
    add("norm2", {5}, false);
    add("b", {2, 7}, true);
    add("c", {33, 1}, true);
    store.allocate(kCpu, DType::bf16);
    for (const Piece& piece : store.pieces()) fill(cpu_stream(), 1, store.master(piece));
  }
  void add(const std::string& name, const std::vector<int64_t>& shape, bool decay) {
    Parameter parameter;
    parameter.name = name;
    parameter.shard = ShardSpec::whole(shape);
    parameter.decay = decay;
    store.add(std::move(parameter));
  }
};

// Of the first update.
Tensor controls(const Optimizer& optimizer, bool apply, double grad_scale, double learning_rate) {
  const auto choice = optimizer.choice(learning_rate, 1);
  const Tensor out(kCpu, DType::f64, {kNumControls});
  auto* control = out.as<double>();
  control[kApply] = apply ? 1 : 0;
  control[kGradScale] = grad_scale;
  control[kLearningRate] = choice[kChoiceLearningRate];
  control[kCorrection1] = choice[kChoiceCorrection1];
  control[kCorrection2] = choice[kChoiceCorrection2];
  return out;
}

TEST_F(Optimizers, DecayMatricesButNotNorms) {
  const auto owner = make_optimizer(adamw_kind(), options, store);
  Optimizer& optimizer = *owner;
  optimizer.step(cpu_stream(), controls(optimizer, true, 1, 0.25));
  for (int parameter = 0; parameter < store.count(); ++parameter) {
    const double expected = store.at(parameter).decay ? 1 - 0.25 * 0.5 : 1;
    for (const double value : values_of(master(store, parameter)))
      EXPECT_EQ(value, expected) << store.at(parameter).name;
    EXPECT_EQ(values_of(store.value(piece(store, parameter))), values_of(master(store, parameter)))
        << "published";
  }
}

TEST_F(Optimizers, TakeAdamsStepOnEveryParameterWithScaledGradients) {
  options.weight_decay = 0;
  options.betas = {0.9, 0.99};
  options.eps = 0;
  const auto owner = make_optimizer(adamw_kind(), options, store);
  Optimizer& optimizer = *owner;
  for (int parameter = 0; parameter < store.count(); ++parameter)
    fill(cpu_stream(), parameter % 2 == 0 ? 8 : -8, gradient(store, parameter));
  optimizer.step(cpu_stream(), controls(optimizer, true, 0.25, 0.125));
  // The bias-corrected first step is the sign of the gradient, whatever its size.
  for (int parameter = 0; parameter < store.count(); ++parameter) {
    const double sign = parameter % 2 == 0 ? 1 : -1;
    for (const double value : values_of(master(store, parameter)))
      EXPECT_NEAR(value, 1 - 0.125 * sign, 1e-6);
    for (const double moment : values_of(store.state(0, piece(store, parameter))))
      EXPECT_NEAR(moment, 0.1 * 2 * sign, 1e-6);
    for (const double moment : values_of(store.state(1, piece(store, parameter))))
      EXPECT_NEAR(moment, 0.01 * 4, 1e-6);
  }
}

TEST_F(Optimizers, ShareNoStore) {
  const auto one = make_optimizer(adamw_kind(), options, store);
  EXPECT_THAT(error_of([&] { make_optimizer(adamw_kind(), options, store); }),
              testing::HasSubstr("another one updates"));
  EXPECT_THAT(error_of([&] { store.attach_state("exp_avg"); }),
              testing::HasSubstr("attached twice"));
  ParameterStore empty;
  EXPECT_THAT(error_of([&] { empty.attach_state("exp_avg"); }),
              testing::HasSubstr("before allocate()"));
}

// The recipe's words and the table of optimizers cannot part.
TEST(OptimizerKinds, HaveOneRowForEachName) {
  EXPECT_EQ(optimizer_kinds().size(), names_of<OptimizerName>().size());
  for (const std::string& name : names_of<OptimizerName>()) {
    const OptimizerName value = value_named<OptimizerName>(name).value();
    EXPECT_EQ(optimizer_kind(value).name, value);
    EXPECT_EQ(state_roles(value).size(), optimizer_kind(value).states.size());
  }
}

TEST_F(Optimizers, LeaveEverythingAloneWhenTheStepIsSkipped) {
  const auto owner = make_optimizer(adamw_kind(), options, store);
  Optimizer& optimizer = *owner;
  for (const Piece& piece : store.pieces())
    fill(cpu_stream(), std::numeric_limits<double>::quiet_NaN(), store.grad(piece));
  optimizer.step(cpu_stream(), controls(optimizer, false, 0, 0.25));
  for (const double value : masters_of(store)) EXPECT_EQ(value, 1);
  for (const Piece& piece : store.pieces()) {
    for (const double moment : values_of(store.state(0, piece))) EXPECT_EQ(moment, 0);
    for (const double moment : values_of(store.state(1, piece))) EXPECT_EQ(moment, 0);
  }
}

}  // namespace
}  // namespace tessera::test
