// SPDX-License-Identifier: Apache-2.0
// The mixture of experts over every expert grid of these ranks gives what one rank gives: outputs,
// input gradients, and weight gradients box by box.
#include "kernels/base/exact_sum.h"
#include "kernels/elementwise.h"
#include "tests/support/numeric.h"
#include "tests/support/parameters.h"
#include "tests/support/rank_world.h"
#include "trainer/model/moe.h"
#include "trainer/model/routing.h"
#include "trainer/recipe.h"

namespace tessera::test {
namespace {

constexpr int64_t kSequences = 2, kLength = 7, kRows = kSequences * kLength, kHidden = 6;

Recipe recipe_of(double buffer) {
  Recipe recipe;
  ModelOptions& model = recipe.model;
  model.architecture = Architecture::deepseek_v3;
  model.hidden_size = kHidden;
  model.num_hidden_layers = 1;
  model.moe_intermediate_size = 9;
  model.n_routed_experts = 8;
  model.num_experts_per_tok = 3;
  model.n_shared_experts = 1;
  model.n_group = 4;
  model.topk_group = 2;
  model.initializer_range = 0.5;
  recipe.router.expert_buffer = buffer;
  recipe.router.sequence_aux_loss = 0.1;
  recipe.router.communication_aux_loss = 0.1;
  return recipe;
}

Tensor input(int64_t micro, uint64_t seed) {
  return normal(DType::f32, kRows, kHidden, seed + static_cast<uint64_t>(micro));
}

struct Mixture {
  Mixture(const Communicators& comms, const Recipe& recipe, int64_t micros, Device device,
          int zero = 0)
      : dtype(device.kind == Device::Kind::reference ? DType::f64 : DType::f32),
        stream(device),
        routing(stream, recipe.model, micros * kRows),
        layer({stream, store, comms, dtype, false, &routing}, "mlp.", recipe.model, recipe.router,
              0) {
    const Communicator &dense = comms.data(), &expert = comms.along(Axis::expert_data);
    store.allocate(device, dtype,
                   {.stage = zero,
                    .rank = dense.rank(),
                    .ranks = dense.size(),
                    .expert_rank = expert.rank(),
                    .expert_ranks = expert.size()});
    for (const char* role : {"first", "second"}) store.attach_state(role);
    store.initialize(7);
    store.share_values(stream, comms);
    zero_grads(stream, store);
    routing.begin_step(0);
    tensor_rank = comms.along(Axis::tensor).rank();
    tensor_ranks = comms.along(Axis::tensor).size();
  }
  Tensor mine(const Tensor& whole) const {
    const Interval rows = even_part(whole.rows(), tensor_rank, tensor_ranks);
    return converted(whole.row_slice(rows.first, rows.extent), stream.device(), dtype);
  }
  // -> my rows of the output and of the input's gradient
  std::pair<Tensor, Tensor> run(int64_t number) {
    Micro micro;
    micro.num_sequences = kSequences;
    micro.sequence_length = kLength;
    micro.first_row = number * kRows;
    micro.dsequence = 0.5;
    Tape tape;
    const Tensor y = layer.forward(mine(input(number, 10)), micro, &tape);
    const Tensor dx = layer.backward_input(mine(input(number, 50)), tape);
    layer.backward_weight(tape);
    EXPECT_TRUE(tape.empty());
    return {y, dx};
  }

  DType dtype;
  Stream stream;
  ParameterStore store;
  Routing routing;
  MixtureOfExperts layer;
  int tensor_rank = 0, tensor_ranks = 1;
};

// Summed over the ranks that hold the same box, as Gradients does it.
Tensor summed(const Communicators& comms, Mixture& mixture, const Parameter& parameter) {
  const Tensor sum = gradient(mixture.store, parameter.index);
  const Axis axis = parameter.group == ParameterGroup::expert ? Axis::expert_data : Axis::data;
  comms.along(axis).all_reduce(mixture.stream, sum, sum, Reduce::sum);
  if (parameter.replication == Replication::tensor)
    comms.along(Axis::tensor).all_reduce(mixture.stream, sum, sum, Reduce::sum);
  return sum;
}

Tensor box_of(const Tensor& whole, const Box& box) {
  if (box.extent.size() == 1) return whole.flat().column_slice(box.offset[0], box.extent[0]);
  return whole.row_slice(box.offset[0], box.extent[0]).column_slice(box.offset[1], box.extent[1]);
}

// In f64 the metric itself is known to a unit roundoff only.
void expect_near(const Tensor& actual, const Tensor& truth, const std::string& what) {
  EXPECT_LE(difference(actual, truth), truth.dtype() == DType::f64 ? 1e-15 : bound(DType::f32))
      << what;
}

void expect_as_one_rank(const GridSizes& sizes, double buffer, Device device) {
  const ProcessGrid grid(sizes);
  SCOPED_TRACE(grid.to_string() + " expert " + std::to_string(sizes.expert) + " expert_tensor " +
               std::to_string(sizes.expert_tensor) + " buffer " + std::to_string(buffer));
  const Communicators comms(world(), grid), alone;
  const int64_t micros = grid.size(Axis::data), number = comms.data().rank();
  Mixture mine(comms, recipe_of(buffer), micros, device);
  Mixture whole(alone, recipe_of(100), micros, device);
  const auto [y, dx] = mine.run(number);
  for (int64_t micro = 0; micro < micros; ++micro) {
    const auto [all_y, all_dx] = whole.run(micro);
    if (micro != number) continue;
    const Interval rows = even_part(kRows, mine.tensor_rank, mine.tensor_ranks);
    const Tensor truth = all_y.row_slice(rows.first, rows.extent);
    const Tensor dtruth = all_dx.row_slice(rows.first, rows.extent);
    expect_near(y, truth, "output");
    expect_near(dx, dtruth, "input gradient");
    // Where experts lie changes no bit of what a token gets.
    if (sizes.tensor == 1 && sizes.expert_tensor == 1) {
      EXPECT_EQ(bits_of(y), bits_of(truth));
      EXPECT_EQ(bits_of(dx), bits_of(dtruth));
    }
  }
  for (const Parameter& parameter : mine.store.all()) {
    const Tensor sum = summed(comms, mine, parameter);
    for (const Parameter& other : whole.store.all())
      if (other.name == parameter.name)
        expect_near(sum, box_of(gradient(whole.store, other.index), parameter.shard.box),
                    parameter.name);
  }
  const Tensor counts(device, DType::i64, {1, 8}), words = mine.routing.loss_words();
  comms.world().all_reduce(mine.stream, mine.routing.counts(), counts, Reduce::sum);
  EXPECT_EQ(bits_of(counts), bits_of(whole.routing.counts()));
  comms.world().all_reduce(mine.stream, words, words, Reduce::sum);
  ExactSum loss, truth;
  std::copy_n(words.as<int64_t>(), ExactSum::kWords, loss.words().begin());
  std::copy_n(whole.routing.loss_words().as<int64_t>(), ExactSum::kWords, truth.words().begin());
  EXPECT_NEAR(loss.round(), truth.round(), 1e-6 * truth.round());
  EXPECT_EQ(mine.routing.extra_rounds() > 0, buffer < 1);
}

TEST(MixtureOfExpertsOnRanks, ComputesAsOnOneRankInEveryExpertGrid) {
  const int n = world().size();
  std::vector<GridSizes> grids = {{.data = n, .expert = n},
                                  {.data = n, .expert_tensor = n},
                                  {.tensor = n, .expert = n},
                                  {.tensor = n, .expert_tensor = n},
                                  {.tensor = n},
                                  {.data = n}};
  if (n == 4) {
    grids.push_back({.data = 4, .expert = 2, .expert_tensor = 2});
    grids.push_back({.data = 4, .expert = 2});
    grids.push_back({.data = 2, .tensor = 2, .expert = 4});
    grids.push_back({.data = 2, .tensor = 2, .expert = 2, .expert_tensor = 2});
    grids.push_back({.data = 2, .tensor = 2, .expert = 2});
  }
  for (const GridSizes& sizes : grids)
    for (const double buffer : {2.0, 0.4})
      for (const Device device : {kReference, kCpu}) expect_as_one_rank(sizes, buffer, device);
}

// Masters and moments go with their expert, whatever rank trains which rows of it, and tokens get
// what they got before.
TEST(MixtureOfExpertsOnRanks, MovesExpertsWithTheirOptimizerState) {
  const int n = world().size();
  const std::vector<double> loads = {1, 2, 3, 4, 5, 60, 70, 80};
  for (const int expert : {n, std::max(1, n / 2)})
    for (const int zero : {0, 1}) {
      SCOPED_TRACE("expert " + std::to_string(expert) + " zero " + std::to_string(zero));
      const Communicators comms(world(), ProcessGrid(GridSizes{.data = n, .expert = expert})),
          alone;
      Mixture mine(comms, recipe_of(2), n, kCpu, zero), whole(alone, recipe_of(2), n, kCpu);
      for (const Piece& piece : mine.store.pieces()) {
        scale(mine.stream, mine.store.master(piece), 2, mine.store.state(0, piece));
        scale(mine.stream, mine.store.master(piece), 3, mine.store.state(1, piece));
      }
      const auto [y, dx] = mine.run(comms.data().rank());
      const Tensor observed(kCpu, DType::i64, {1, 8});
      for (size_t i = 0; i < loads.size(); ++i)
        observed.as<int64_t>()[i] = static_cast<int64_t>(loads[i]);
      mine.routing.observe(observed);
      EXPECT_EQ(mine.routing.rebalance(), expert > 1 ? 1 : 0);
      EXPECT_EQ(mine.routing.rebalance(), 0) << "nothing was observed since";
      mine.store.publish(mine.stream, comms);
      for (const Piece& piece : mine.store.pieces()) {
        const Parameter& parameter = mine.store.at(piece.parameter);
        for (const Parameter& other : whole.store.all()) {
          if (other.name != parameter.name) continue;
          const Tensor truth = box_of(master(whole.store, other.index), piece.shard.box);
          EXPECT_EQ(bits_of(mine.store.master(piece)), bits_of(truth)) << parameter.name;
        }
        const std::vector<double> weights = values_of(mine.store.master(piece));
        const std::vector<double> first = values_of(mine.store.state(0, piece));
        const std::vector<double> second = values_of(mine.store.state(1, piece));
        for (size_t i = 0; i < weights.size(); ++i) {
          EXPECT_EQ(first[i], static_cast<double>(static_cast<float>(2 * weights[i])));
          EXPECT_EQ(second[i], static_cast<double>(static_cast<float>(3 * weights[i])));
        }
      }
      mine.routing.begin_step(1);
      const auto [again, dagain] = mine.run(comms.data().rank());
      EXPECT_EQ(bits_of(y), bits_of(again));
      EXPECT_EQ(bits_of(dx), bits_of(dagain));
    }
}

}  // namespace
}  // namespace tessera::test
