// SPDX-License-Identifier: Apache-2.0
// A whole model: its gradients are derivatives, halves may be delayed, and the CPU backend agrees
// with the reference.
#include "trainer/model/stage.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/exact_sum.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"
#include "tests/support/tiny_model.h"
#include "trainer/model/build.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kLength = 6;

struct Model {
  Stream stream;
  ParameterStore store;
  Communicators comms;
  std::unique_ptr<Stage> stage;
  std::unique_ptr<Gradients> gradients;
  std::vector<Micro> micros;

  Model(Device device, DType dtype, const ModelOptions& options,
        Recomputation recomputation = Recomputation::none)
      : stream(device) {
    stage = build_stage({stream, store, comms, dtype},
                        {.model = options, .recomputation = recomputation, .positions = kLength});
    store.allocate(device, dtype);
    store.initialize(3);
    // Weights that any compute type holds, so that types differ in arithmetic alone.
    for (const Piece& piece : store.pieces()) {
      const Tensor rounded = converted(store.master(piece), device, DType::bf16);
      cast(reference_stream(), rounded, store.master(piece));
    }
    store.publish(stream, comms);
    gradients = std::make_unique<Gradients>(stream, store, comms);
    for (int micro = 0; micro < 2; ++micro) {
      const Philox philox{static_cast<uint64_t>(micro), 1};
      MicroBatch batch;
      batch.num_sequences = 2;
      for (uint64_t row = 0; row < 2 * kLength; ++row) {
        batch.tokens.push_back(static_cast<int32_t>(philox.bits(row) % 29));
        batch.targets.push_back(row % 5 == 4 ? -1
                                             : static_cast<int32_t>(philox.bits(99 + row) % 29));
        batch.positions.push_back(static_cast<int32_t>(row % kLength));
      }
      micros.push_back(to_micro(stream, batch, kLength));
      micros.back().dloss = 0.125;
    }
  }

  void train(const std::string& schedule) {
    gradients->begin_step(false);
    stage->begin_step(micros, *gradients);
    const Plan plan{2, {parse_schedule(schedule)}, {{0}}};
    run(plan, 0, *stage, stream, comms.along(Axis::pipeline));
    stage->end_step();
    gradients->finish();
  }
  double loss() const {
    ExactSum sum;
    std::memcpy(sum.words().data(), stage->loss_words().data(), sizeof(int64_t) * ExactSum::kWords);
    return sum.round();
  }
};

const std::string kFused = "F0.0 B0.0 W0.0 F0.1 B0.1 W0.1";
const std::string kDelayed = "F0.0 F0.1 B0.1 B0.0 W0.0 W0.1";

ModelOptions model_with(bool tied) {
  ModelOptions options = tiny_model();
  options.hidden_size = 8;
  options.intermediate_size = 6;
  options.tie_word_embeddings = tied;
  return options;
}

TEST(Stage, GradientsOfEveryParameterAreDerivatives) {
  for (const bool tied : {false, true}) {
    Model model(kReference, DType::f64, model_with(tied));
    model.train(kFused);
    const auto objective = [&] {
      double sum = 0;
      for (const Micro& micro : model.micros)
        for (const double row : values_of(model.stage->losses(micro))) sum += micro.dloss * row;
      return sum;
    };
    EXPECT_NEAR(model.loss() * 0.125, objective(), 1e-12);
    for (const Parameter& parameter : model.store.all()) {
      const Tensor weight = master(model.store, parameter.index);
      const Tensor slopes = gradient(model.store, parameter.index);
      double largest = 0;
      for (const double value : values_of(slopes)) largest = std::max(largest, std::abs(value));
      EXPECT_GT(largest, 1e-6) << parameter.name;
      constexpr double kStep = 1e-4;
      constexpr int64_t kEvery = 17;  // elements; layers_test looks at all
      for (int64_t i = 0; i < weight.size(); i += kEvery) {
        double& element = weight.as<double>()[i];
        const double before = element;
        element = before + kStep;
        const double above = objective();
        element = before - kStep;
        const double below = objective();
        element = before;
        EXPECT_NEAR((above - below) / (2 * kStep), slopes.as<double>()[i], 2e-6 * largest + 1e-10)
            << parameter.name << ", element " << i << (tied ? ", tied" : "");
      }
    }
  }
}

TEST(Stage, GivesTheSameBitsWhenTheWeightHalvesAreDelayed) {
  for (const bool tied : {false, true})
    for (const DType dtype : {DType::f32, DType::bf16}) {
      Model model(kCpu, dtype, model_with(tied));
      model.train(kFused);
      const auto fused = grads_of(model.store);
      const double loss = model.loss();
      model.train(kDelayed);
      EXPECT_TRUE(grads_of(model.store) == fused) << name(dtype) << (tied ? ", tied" : "");
      EXPECT_EQ(model.loss(), loss);
    }
}

TEST(Stage, GivesTheSameBitsWhenActivationsAreMadeAgain) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Model remembering(kCpu, dtype, model_with(true));
    remembering.train(kFused);
    for (const Recomputation recompute : {Recomputation::selective, Recomputation::full})
      for (const std::string& schedule : {kFused, kDelayed}) {
        Model model(kCpu, dtype, model_with(true), recompute);
        model.train(schedule);
        EXPECT_TRUE(grads_of(model.store) == grads_of(remembering.store)) << name_of(recompute);
        EXPECT_EQ(model.loss(), remembering.loss());
      }
  }
}

TEST(Stage, KeepsLessWhenActivationsAreMadeAgain) {
  const auto live_after_forward = [](Recomputation recompute) {
    Model model(kCpu, DType::f32, model_with(false), recompute);
    model.gradients->begin_step(false);
    model.stage->begin_step(model.micros, *model.gradients);
    const auto activations = static_cast<size_t>(MemoryClass::activations);
    const int64_t before = memory_use().now[activations];
    model.stage->forward(0, 0, {});
    return memory_use().now[activations] - before;
  };
  EXPECT_LT(live_after_forward(Recomputation::selective), live_after_forward(Recomputation::none));
  EXPECT_LT(live_after_forward(Recomputation::full), live_after_forward(Recomputation::selective));
}

TEST(Stage, OnTheCpuAgreesWithTheReference) {
  Model truth(kReference, DType::f64, model_with(false));
  truth.train(kFused);
  // Errors of a dozen kernels in a row: bounds on difference() (tests/support/numeric.h).
  const std::vector<std::pair<DType, double>> bounds = {
      {DType::f32, 1e-11}, {DType::bf16, 5e-4}, {DType::f16, 1e-5}};
  for (const auto& [dtype, limit] : bounds) {
    Model model(kCpu, dtype, model_with(false));
    model.train(kFused);
    EXPECT_NEAR(model.loss() / truth.loss(), 1, std::sqrt(limit)) << name(dtype);
    for (int parameter = 0; parameter < model.store.count(); ++parameter)
      EXPECT_LE(difference(gradient(model.store, parameter), gradient(truth.store, parameter)),
                limit)
          << model.store.at(parameter).name << " in " << name(dtype);
  }
}

TEST(Stage, ComplainsWhenATapeIsNotEmptyAtTheEnd) {
  Model model(kCpu, DType::f32, model_with(false));
  EXPECT_THAT(error_of([&] { model.train("F0.0 B0.0 W0.0 F0.1 B0.1"); }),
              HasSubstr("the tape of chunk 0 microbatch 1 still holds"));
}

TEST(Stage, NamesTheFirstGradientThatOverflowed) {
  Model model(kCpu, DType::f32, model_with(false));
  const auto poison = [&](const std::string& parameter) {
    for (const Parameter& p : model.store.all())
      if (p.name == parameter)
        model.store.value(piece(model.store, p.index)).as<float>()[0] =
            std::numeric_limits<float>::infinity();
  };
  const auto watched = [&](bool watch) {
    model.gradients->begin_step(watch);
    model.stage->begin_step(model.micros, *model.gradients);
    run({2, {parse_schedule(kFused)}, {{0}}}, 0, *model.stage, model.stream,
        model.comms.along(Axis::pipeline));
    model.gradients->finish();
    return model.gradients->first_overflow(model.gradients->overflows());
  };
  EXPECT_EQ(watched(true), -1);
  poison("lm_head.weight");
  EXPECT_EQ(watched(false), -1);
  const int first = watched(true);
  ASSERT_GE(first, 0);
  EXPECT_EQ(model.store.at(first).name, "lm_head.weight") << "backward meets it first";
}

}  // namespace
}  // namespace tessera::test
