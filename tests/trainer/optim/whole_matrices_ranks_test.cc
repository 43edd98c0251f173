// SPDX-License-Identifier: Apache-2.0
// An optimizer may want whole matrices on one data rank: Muon, with another number of state tensors
// than AdamW, gets the weights of one rank to the bit.
#include <gtest/gtest.h>

#include "tests/support/muon.h"
#include "tests/support/numeric.h"
#include "tests/support/rank_world.h"
#include "trainer/model/gradients.h"
#include "trainer/model_state.h"

namespace tessera::test {
namespace {

// Exact in every floating type.
double f(int64_t i, int64_t j) {
  return static_cast<double>((7 * i + 13 * j) % 11 - 5) / 4;
}

Parameter parameter(const std::string& name, const std::vector<int64_t>& shape) {
  Parameter one;
  one.name = name;
  one.shard = ShardSpec::whole(shape);
  one.init_deviation = 0.5;
  return one;
}

Tensor controls(double learning_rate) {
  const Tensor out(Device{}, DType::f64, {kNumControls});
  auto* control = out.as<double>();
  control[kApply] = control[kGradScale] = control[kCorrection1] = control[kCorrection2] = 1;
  control[kLearningRate] = learning_rate;
  return out;
}

TEST(WholeMatrices, FiveNewtonSchulzStepsGiveThePublishedValues) {
  std::vector<double> gradient;
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 4; ++j) gradient.push_back(f(i, j));
  const std::vector<double> x = orthogonalized(gradient, 3);
  const std::vector<double> first = {-0.87622906, -0.45536497, -0.41271563, 0.00814846};
  const std::vector<double> last = {-0.26344700, 0.31053065, 0.20861412, 0.78259178};
  for (size_t j = 0; j < 4; ++j) {
    EXPECT_NEAR(x[j], first[j], 1e-8);
    EXPECT_NEAR(x[8 + j], last[j], 1e-8);
  }
}

TEST(WholeMatrices, TwoUpdatesGiveThePublishedWeights) {
  ParameterStore store;
  store.add(parameter("w", {3, 4}));
  const Device reference{Device::Kind::reference};
  store.allocate(reference, DType::f64);
  Muon muon(store, 0.1);
  const Piece& piece = store.pieces().front();
  const Tensor weights = store.master(piece), gradient = store.grad(piece);
  Stream stream(reference);
  for (const int64_t step : {-1, 0, 1}) {
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < 4; ++j)
        if (step < 0)
          weights.row<double>(i)[j] = f(j, i) / 8;
        else
          gradient.row<double>(i)[j] = f(i + step, j + 2 * step);
    if (step >= 0) muon.step(stream, controls(0.02));
  }
  const std::vector<double> row = {-0.14161998, 0.06952880, -0.05565340, 0.15549538};
  for (size_t j = 0; j < 4; ++j) EXPECT_NEAR(weights.row<double>(0)[j], row[j], 1e-8);
}

// Matrices that AdamW's dealing would cut, two that are used as one, a small one and a norm.
struct Model {
  explicit Model(const Communicators& comms, int zero) : comms_(comms) {
    for (const auto& shape : std::vector<std::vector<int64_t>>{{256, 260}, {8, 9}, {70}})
      stacks.push_back(store.add(parameter(std::to_string(shape[0]), shape)));
    stacks.push_back(store.add({parameter("b", {100, 331}), parameter("c", {99, 331})}));
    store.allocate(Device{}, DType::f32,
                   {.stage = zero,
                    .rank = comms.data().rank(),
                    .ranks = comms.data().size(),
                    .whole_stacks = true});
    optimizer = std::make_unique<Muon>(store, 0.1);
    store.initialize(3);
    store.share_values(stream, comms);
    gradients = std::make_unique<Gradients>(stream, store, comms);
  }
  // Every rank gives `factor` times the same gradient.
  void step(double factor) {
    gradients->begin_step(false);
    for (const Stack& stack : stacks) {
      const Tensor grad = store.grad(stack);
      for (int64_t i = 0; i < grad.rows(); ++i)
        for (int64_t j = 0; j < grad.columns(); ++j)
          grad.row<float>(i)[j] = static_cast<float>(factor * f(i, j));
      gradients->added({stack}, true);
    }
    gradients->finish();
    optimizer->step(stream, controls(0.02));
    store.share_values(stream, comms_);
  }

  const Communicators& comms_;
  Stream stream{Device{}};
  ParameterStore store;
  std::vector<Stack> stacks;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Gradients> gradients;
};

TEST(WholeMatrices, RanksGetTheBitsOfOneRank) {
  const int n = world().size();
  const Communicators comms(world(), ProcessGrid(GridSizes{.data = n})), alone;
  for (const int zero : {0, 1, 2}) {
    SCOPED_TRACE("zero " + std::to_string(zero));
    Model mine(comms, zero), one(alone, 0);
    for (int step = 0; step < 2; ++step) {
      mine.step(1);
      one.step(n);
    }
    for (const Stack& stack : one.stacks)
      EXPECT_EQ(bits_of(mine.store.value(stack)), bits_of(one.store.value(stack)));
    const size_t pieces = mine.store.pieces().size();
    const State saved = tensors_of(mine.store, comms);
    ASSERT_EQ(saved.entries.size(), 2 * pieces);
    if (pieces > 0) {
      EXPECT_EQ(saved.entries.back().role, "momentum_buffer");
    }
  }
}

}  // namespace
}  // namespace tessera::test
