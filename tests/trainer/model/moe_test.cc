// SPDX-License-Identifier: Apache-2.0
// The mixture of experts against finite differences in double precision, f32 against it, and the
// loads nobody wishes for.
#include "trainer/model/moe.h"

#include <cmath>
#include <functional>

#include "kernels/base/exact_sum.h"
#include "kernels/router.h"
#include "tests/support/numeric.h"
#include "tests/support/parameters.h"
#include "trainer/model/recompute.h"
#include "trainer/model/routing.h"
#include "trainer/recipe.h"

namespace tessera::test {
namespace {

constexpr int64_t kSequences = 2, kLength = 5, kRows = kSequences * kLength, kHidden = 6;

Recipe moe_recipe() {
  Recipe recipe;
  ModelOptions& model = recipe.model;
  model.architecture = Architecture::deepseek_v3;
  model.hidden_size = kHidden;
  model.num_hidden_layers = 2;
  model.first_k_dense_replace = 1;
  model.moe_intermediate_size = 5;
  model.n_routed_experts = 8;
  model.num_experts_per_tok = 3;
  model.n_shared_experts = 2;
  model.n_group = 4;
  model.topk_group = 2;
  model.norm_topk_prob = true;
  model.routed_scaling_factor = 2.5;
  model.initializer_range = 0.5;
  model.scale_residual_init = false;
  return recipe;
}

// A layer with its parameters, on one device.
struct Mixture {
  explicit Mixture(const Recipe& recipe, Device device = kReference, DType dtype = DType::f64,
                   bool selective = false)
      : stream(device), routing(stream, recipe.model, kRows) {
    LayerContext context{stream, store, comms, dtype};
    context.selective_recompute = selective;
    context.routing = &routing;
    layer = std::make_unique<MixtureOfExperts>(context, "mlp.", recipe.model, recipe.router, 1);
    store.allocate(device, dtype);
    store.initialize(7);
    micro.num_sequences = kSequences;
    micro.sequence_length = kLength;
    micro.first_row = 0;
    micro.dloss = 1;
    micro.dsequence = 1;
  }
  Tensor master(const std::string& name) {
    for (const Parameter& parameter : store.all())
      if (parameter.name == name) return test::master(store, parameter.index);
    ADD_FAILURE() << "no " << name;
    return {};
  }
  Tensor gradient(const std::string& name) {
    for (const Parameter& parameter : store.all())
      if (parameter.name == name) return test::gradient(store, parameter.index);
    ADD_FAILURE() << "no " << name;
    return {};
  }
  std::vector<int64_t> loads() const {
    const int64_t* counts = routing.counts(1).as<int64_t>();
    return {counts, counts + routing.num_experts()};
  }
  struct Result {
    Tensor y, dx;
  };
  Result run(const Tensor& x, const Tensor& dy, bool selective = false) {
    Tape tape;
    routing.begin_step(1);
    zero_grads(stream, store);
    const Tensor y = layer->forward(x, micro, &tape);
    if (selective) {
      layer->drop_input(tape);
      layer->restore_input(tape, x);
    }
    const Tensor dx = layer->backward_input(dy, tape);
    for (const double value : grads_of(store)) EXPECT_EQ(value, 0);
    layer->backward_weight(tape);
    EXPECT_TRUE(tape.empty());
    return {y, dx};
  }

  Stream stream;
  ParameterStore store;
  Communicators comms;
  Routing routing;
  Micro micro;
  std::unique_ptr<MixtureOfExperts> layer;
};

double auxiliary_loss(const Routing& routing) {
  ExactSum sum;
  std::copy_n(routing.loss_words().as<int64_t>(), ExactSum::kWords, sum.words().begin());
  return sum.round();
}

// Every derivative of <dy, y> + auxiliary loss by x and by the weights.
void expect_slopes(Mixture& mixture) {
  const Tensor x = normal(DType::f64, kRows, kHidden, 8),
               dy = normal(DType::f64, kRows, kHidden, 9);
  const auto [y, dx] = mixture.run(x, dy);
  const auto objective = [&] {
    mixture.routing.begin_step(1);
    const std::vector<double> out = values_of(mixture.layer->forward(x, mixture.micro, nullptr));
    double sum = auxiliary_loss(mixture.routing);
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * dy.as<double>()[i];
    return sum;
  };
  const auto expect = [&](const Tensor& elements, const Tensor& gradient, const std::string& what) {
    for (int64_t i = 0; i < elements.size(); ++i) {
      double& element = elements.as<double>()[i];
      const double before = element, step = 1e-6;
      element = before + step;
      const double above = objective();
      element = before - step;
      const double below = objective();
      element = before;
      EXPECT_NEAR((above - below) / (2 * step), gradient.as<double>()[i], 2e-7)
          << what << ", element " << i;
    }
  };
  expect(x, dx, "input");
  for (const Parameter& parameter : mixture.store.all())
    expect(master(mixture.store, parameter.index), gradient(mixture.store, parameter.index),
           parameter.name);
}

TEST(MixtureOfExperts, HasItsGradients) {
  Mixture mixture(moe_recipe());
  expect_slopes(mixture);
}

TEST(MixtureOfExperts, OfSoftmaxWithEveryBalanceLossHasItsGradients) {
  Recipe recipe = moe_recipe();
  recipe.model.scoring_func = Scoring::softmax;
  recipe.model.topk_method = Selection::group_limited_greedy;
  recipe.model.norm_topk_prob = false;
  recipe.model.n_shared_experts = 0;
  recipe.router.sequence_aux_loss = 0.3;
  recipe.router.expert_aux_loss = 0.2;
  recipe.router.device_aux_loss = 0.4;
  recipe.router.communication_aux_loss = 0.5;
  Mixture mixture(recipe);
  expect_slopes(mixture);
  EXPECT_GT(auxiliary_loss(mixture.routing), 0.1);
}

TEST(MixtureOfExperts, OfSigmoidWithBalanceLossHasItsGradients) {
  Recipe recipe = moe_recipe();
  recipe.router.sequence_aux_loss = 0.3;
  Mixture mixture(recipe);
  mixture.routing.bias(1).as<float>()[5] = 3;  // the loss counts the scores without it
  expect_slopes(mixture);
}

TEST(MixtureOfExperts, RunsInRoundsWhenBuffersAreSmallWithTheSameResult) {
  Recipe recipe = moe_recipe();
  Mixture whole(recipe);
  recipe.router.expert_buffer = 0.3;
  Mixture rounds(recipe);
  const Tensor x = normal(DType::f64, kRows, kHidden, 8),
               dy = normal(DType::f64, kRows, kHidden, 9);
  const auto a = whole.run(x, dy), b = rounds.run(x, dy);
  EXPECT_EQ(whole.routing.extra_rounds(), 0);
  EXPECT_EQ(rounds.routing.extra_rounds(), 3);
  EXPECT_EQ(bits_of(a.y), bits_of(b.y));
  EXPECT_EQ(bits_of(a.dx), bits_of(b.dx));
  const std::vector<double> once = grads_of(whole.store), parts = grads_of(rounds.store);
  for (size_t i = 0; i < once.size(); ++i) EXPECT_NEAR(once[i], parts[i], 1e-13);
  expect_slopes(rounds);
}

// All rows to experts 0, 1 and 2; the others get nothing, and no gradient.
TEST(MixtureOfExperts, OfForcedRoutingHasCorrectGradientsAndIdleExpertsHaveNone) {
  Recipe recipe = moe_recipe();
  recipe.model.n_group = recipe.model.topk_group = 1;
  Mixture mixture(recipe);
  for (const int expert : {0, 1, 2}) mixture.routing.bias(1).as<float>()[expert] = 100;
  expect_slopes(mixture);
  EXPECT_EQ(mixture.loads(), (std::vector<int64_t>{10, 10, 10, 0, 0, 0, 0, 0}));
  for (const double value : values_of(mixture.gradient("mlp.experts.3.down_proj.weight")))
    EXPECT_EQ(value, 0);
}

TEST(MixtureOfExperts, InF32AgreesWithTheReference) {
  for (const Scoring scoring : {Scoring::sigmoid, Scoring::softmax}) {
    Recipe recipe = moe_recipe();
    recipe.model.scoring_func = scoring;
    recipe.router.sequence_aux_loss = 0.3;
    recipe.router.device_aux_loss = 0.1;
    Mixture truth(recipe), cpu(recipe, kCpu, DType::f32);
    const Tensor x = normal(DType::f32, kRows, kHidden, 8);
    const Tensor dy = normal(DType::f32, kRows, kHidden, 9);
    const auto a = truth.run(x, dy);
    const auto b = cpu.run(converted(x, kCpu, DType::f32), converted(dy, kCpu, DType::f32));
    EXPECT_EQ(truth.loads(), cpu.loads());
    expect_close(b.y, a.y, DType::f32, "output");
    expect_close(b.dx, a.dx, DType::f32, "input gradient");
    for (const Parameter& parameter : truth.store.all())
      expect_close(gradient(cpu.store, parameter.index), gradient(truth.store, parameter.index),
                   DType::f32, parameter.name.c_str());
    EXPECT_NEAR(auxiliary_loss(cpu.routing), auxiliary_loss(truth.routing), 1e-6);
  }
}

TEST(MixtureOfExperts, CountsLoadsOnceAndGivesTheSameBitsWithRecompute) {
  const Recipe recipe = moe_recipe();
  Mixture plain(recipe, kCpu, DType::bf16), selective(recipe, kCpu, DType::bf16, true);
  Mixture full(recipe, kCpu, DType::bf16);
  const Tensor x = converted(normal(DType::bf16, kRows, kHidden, 8), kCpu, DType::bf16);
  const Tensor dy = converted(normal(DType::bf16, kRows, kHidden, 9), kCpu, DType::bf16);
  const auto a = plain.run(x, dy), b = selective.run(x, dy, true);
  std::vector<std::unique_ptr<Layer>> inner;
  inner.push_back(std::move(full.layer));
  Recompute again(std::move(inner));
  Tape tape;
  full.routing.begin_step(1);
  zero_grads(full.stream, full.store);
  const Tensor y = again.forward(x, full.micro, &tape);
  const Tensor dx = again.backward_input(dy, tape);
  again.backward_weight(tape);
  EXPECT_TRUE(tape.empty());
  for (const Tensor& other : {b.y, y}) EXPECT_EQ(bits_of(a.y), bits_of(other));
  for (const Tensor& other : {b.dx, dx}) EXPECT_EQ(bits_of(a.dx), bits_of(other));
  EXPECT_EQ(grads_of(plain.store), grads_of(selective.store));
  EXPECT_EQ(grads_of(plain.store), grads_of(full.store));
  EXPECT_EQ(plain.loads(), full.loads());
  EXPECT_EQ(plain.loads(), selective.loads());
  int64_t total = 0;
  for (const int64_t load : full.loads()) total += load;
  EXPECT_EQ(total, kRows * recipe.model.num_experts_per_tok);
  // Nothing of an evaluation is counted.
  full.micro.first_row = -1;
  again.forward(x, full.micro, nullptr);
  EXPECT_EQ(plain.loads(), full.loads());
}

TEST(Routing, MovesBiasesTowardsTheMeanLoad) {
  Mixture mixture(moe_recipe());
  const Tensor loads(kReference, DType::i64, {1, 8});
  const std::vector<int64_t> counts = {10, 2, 4, 4, 0, 4, 4, 4};  // mean 4
  std::copy(counts.begin(), counts.end(), loads.as<int64_t>());
  const Tensor apply(kReference, DType::f64, {1});
  apply.as<double>()[0] = 0;
  mixture.routing.after_update(loads, 0.001, apply);
  EXPECT_EQ(*mixture.routing.bias(1).as<float>(), 0) << "the step was not applied";
  apply.as<double>()[0] = 1;
  mixture.routing.after_update(loads, 0.001, apply);
  const float* bias = mixture.routing.bias(1).as<float>();
  EXPECT_EQ(std::vector<float>(bias, bias + 8),
            (std::vector<float>{-0.001f, 0.001f, 0, 0, 0.001f, 0, 0, 0}));
}

TEST(Routing, ReplaysWhatItRecorded) {
  Mixture mixture(moe_recipe());
  const Tensor x = normal(DType::f64, kRows, kHidden, 8),
               dy = normal(DType::f64, kRows, kHidden, 9);
  RoutingRecord record;
  mixture.routing.record(&record);
  const auto first = mixture.run(x, dy);
  const std::vector<int64_t> loads = mixture.loads();
  mixture.routing.record(nullptr);
  mixture.routing.replay(&record);
  mixture.routing.bias(1).as<float>()[4] = 5;  // would change every choice
  const auto second = mixture.run(x, dy);
  EXPECT_EQ(bits_of(first.y), bits_of(second.y));
  EXPECT_EQ(mixture.loads(), loads);
  EXPECT_EQ(mixture.routing.flips().rows, kRows);
  EXPECT_GT(mixture.routing.flips().flipped, 0);
}

// A rank that is not there, of 64 with 8 of 256 experts' places each: it sends and receives the
// mean, and nothing is computed.
TEST(MixtureOfExperts, RunsDryOnAnyRankOfAGrid) {
  Recipe recipe = moe_recipe();
  recipe.model.n_routed_experts = 256;
  recipe.model.n_group = 8;
  recipe.model.num_experts_per_tok = 8;
  recipe.router.sequence_aux_loss = 1e-4;
  const Device dry{Device::Kind::dry, 0};
  for (const bool tensor : {false, true}) {
    const ProcessGrid grid(
        tensor ? GridSizes{.data = 16, .tensor = 4, .expert = 16, .expert_tensor = 4}
               : GridSizes{.data = 64, .expert = 64});
    const auto calls = std::make_shared<DryCalls>();
    const Communicators comms = Communicators::dry_run(grid, 37, calls);
    Stream stream(dry);
    ParameterStore store;
    Routing routing(stream, recipe.model, 64 * 512);
    MixtureOfExperts layer({stream, store, comms, DType::bf16, false, &routing}, "mlp.",
                           recipe.model, recipe.router, 1);
    store.allocate(dry, DType::bf16);
    Micro micro;
    micro.num_sequences = 4;
    micro.sequence_length = 128;
    micro.first_row = 0;
    Tape tape;
    const int64_t rows = 512 / grid.size(Axis::tensor);
    const Tensor x(dry, DType::bf16, {rows, kHidden});
    EXPECT_EQ(layer.forward(x, micro, &tape).rows(), rows);
    EXPECT_EQ(layer.backward_input(x, tape).rows(), rows);
    layer.backward_weight(tape);
    EXPECT_TRUE(tape.empty());
    EXPECT_EQ(routing.extra_rounds(), 0);
    int64_t sent = 0;
    for (const DryCall& call : *calls)
      if (call.tag == "expert rows" && call.operation == "all-to-all") sent += call.bytes;
    EXPECT_EQ(sent, rows * 8 * kHidden * 2);
  }
}

}  // namespace
}  // namespace tessera::test
