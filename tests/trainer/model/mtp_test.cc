// SPDX-License-Identifier: Apache-2.0
// Multi-token prediction inside a whole model: gradients of all that it shares and owns, and the
// loss as it is defined.
#include "trainer/model/mtp.h"

#include <cstring>

#include <gtest/gtest.h>

#include "kernels/base/exact_sum.h"
#include "tests/support/parameters.h"
#include "tests/support/tiny_model.h"
#include "trainer/model/build.h"

namespace tessera::test {
namespace {

constexpr int64_t kLength = 6;

ModelOptions predicting(Architecture architecture, int64_t depth, bool tied) {
  ModelOptions model = tiny_model();
  model.architecture = architecture;
  model.hidden_size = 8;
  model.intermediate_size = 6;
  model.num_hidden_layers = 1;
  model.num_nextn_predict_layers = depth;
  model.tie_word_embeddings = tied;
  if (!model.has_experts()) return model;
  model.num_key_value_heads = 0;
  model.first_k_dense_replace = 1;
  model.moe_intermediate_size = 5;
  model.n_routed_experts = 4;
  model.num_experts_per_tok = 4;  // all of them: finite differences must not meet another choice
  model.n_shared_experts = 1;
  model.kv_lora_rank = 6;
  model.q_lora_rank = 5;
  model.qk_nope_head_dim = 2;
  model.qk_rope_head_dim = 2;
  model.v_head_dim = 3;
  return model;
}

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
      micros.back().mtp_loss_weight = 0.75;
    }
  }
  void train(const std::string& schedule) {
    gradients->begin_step(false);
    stage->begin_step(micros, *gradients);
    run({2, {parse_schedule(schedule)}, {{0}}}, 0, *stage, stream, comms.along(Axis::pipeline));
    stage->end_step();
    gradients->finish();
  }
  static double sum_of(const Tensor& words) {
    ExactSum sum;
    std::memcpy(sum.words().data(), words.data(), sizeof(int64_t) * ExactSum::kWords);
    return sum.round();
  }
  double loss() const { return sum_of(stage->loss_words()); }
  double mtp_loss() const { return sum_of(stage->mtp_loss_words()); }
};

const std::string kFused = "F0.0 B0.0 W0.0 F0.1 B0.1 W0.1";
const std::string kDelayed = "F0.0 F0.1 B0.1 B0.0 W0.0 W0.1";

TEST(MultiTokenPrediction, AddsTheDerivativesOfItsWeightedMeanLoss) {
  for (const Architecture architecture : {Architecture::llama, Architecture::deepseek_v3})
    for (const bool tied : {false, true}) {
      constexpr int64_t kDepth = 2;
      Model model(kReference, DType::f64, predicting(architecture, kDepth, tied));
      model.train(kFused);
      const std::vector<double> slopes = grads_of(model.store);
      const auto objective = [&] {
        model.train(kFused);
        return 0.125 * (model.loss() + 0.75 / kDepth * model.mtp_loss());
      };
      size_t first = 0;
      for (const Parameter& parameter : model.store.all()) {
        const Tensor weight = master(model.store, parameter.index);
        double largest = 0;
        for (int64_t i = 0; i < weight.size(); ++i)
          largest = std::max(largest, std::abs(slopes[first + static_cast<size_t>(i)]));
        constexpr double kStep = 1e-4;
        constexpr int64_t kEvery = 29;  // elements
        for (int64_t i = 0; i < weight.size(); i += kEvery) {
          double& element = weight.as<double>()[i];
          const double before = element;
          element = before + kStep;
          const double above = objective();
          element = before - kStep;
          const double below = objective();
          element = before;
          EXPECT_NEAR((above - below) / (2 * kStep), slopes[first + static_cast<size_t>(i)],
                      5e-6 * largest + 1e-9)
              << name_of(architecture) << ' ' << parameter.name << ", element " << i;
        }
        first += static_cast<size_t>(weight.size());
      }
    }
}

TEST(MultiTokenPrediction, HasTheNamesOfReleasedWeights) {
  Model model(kReference, DType::f64, predicting(Architecture::deepseek_v3, 1, false));
  std::vector<std::string> names;
  for (const Parameter& parameter : model.store.all()) names.push_back(parameter.name);
  for (const char* name :
       {"enorm.weight", "hnorm.weight", "eh_proj.weight", "shared_head.norm.weight",
        "self_attn.kv_a_proj_with_mqa.weight", "mlp.gate.weight", "mlp.experts.3.down_proj.weight"})
    EXPECT_TRUE(std::find(names.begin(), names.end(), std::string("model.layers.1.") + name) !=
                names.end())
        << name;
  EXPECT_EQ(std::count(names.begin(), names.end(), "model.embed_tokens.weight"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "lm_head.weight"), 1);
}

TEST(MultiTokenPrediction, LeavesTheMainLossAndEvaluationAlone) {
  Model with(kCpu, DType::f32, predicting(Architecture::llama, 2, false));
  Model without(kCpu, DType::f32, predicting(Architecture::llama, 0, false));
  with.train(kFused);
  without.train(kFused);
  EXPECT_EQ(with.loss(), without.loss()) << "equal names have equal initial weights";
  EXPECT_GT(with.mtp_loss(), 0);
  EXPECT_EQ(without.mtp_loss(), 0);
  EXPECT_EQ(values_of(with.stage->losses(with.micros[0])),
            values_of(without.stage->losses(without.micros[0])));
}

TEST(MultiTokenPrediction, KeepsBitsWhateverTheScheduleAndRecompute) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const bool tied : {false, true}) {
      const ModelOptions options = predicting(Architecture::deepseek_v3, 2, tied);
      Model truth(kCpu, dtype, options);
      truth.train(kFused);
      for (const Recomputation recompute :
           {Recomputation::none, Recomputation::selective, Recomputation::full}) {
        Model model(kCpu, dtype, options, recompute);
        model.train(kDelayed);
        EXPECT_TRUE(grads_of(model.store) == grads_of(truth.store)) << name_of(recompute);
        EXPECT_EQ(model.mtp_loss(), truth.mtp_loss());
      }
    }
}

TEST(MultiTokenPrediction, WeighsTheSecondPhaseDifferently) {
  const MtpOptions options{
      .loss_weight = 0.3, .second_phase = {.tokens = 100}, .second_loss_weight = 0.1};
  EXPECT_EQ(mtp_loss_weight(options, {.tokens = 99}), 0.3);
  EXPECT_EQ(mtp_loss_weight(options, {.tokens = 100}), 0.1);
  EXPECT_EQ(mtp_loss_weight({}, {.tokens = 1000000}), 0.3);
}

}  // namespace
}  // namespace tessera::test
