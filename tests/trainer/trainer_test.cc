// SPDX-License-Identifier: Apache-2.0
#include "trainer/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/load.h"
#include "checkpoint/writer.h"
#include "kernels/cpu_path.h"
#include "tests/support/errors.h"
#include "tests/support/parameters.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

struct Training : testing::Test {
  TemporaryDirectory directory;
  Communicators alone;
  const int threads = cpu_threads();

  // Kernels this small are quicker on one thread.
  Training() {
    set_cpu_threads(1);
    write_tiny_tokens(directory / "tokens");
  }
  ~Training() override { set_cpu_threads(threads); }
  Recipe recipe(const std::string& compute = "f32") const {
    return tiny_recipe(directory / "tokens", compute);
  }
  std::vector<double> losses(Trainer& trainer, int steps) const {
    std::vector<double> all;
    for (int step = 0; step < steps; ++step) all.push_back(trainer.step({}).loss);
    return all;
  }
};

TEST_F(Training, LowersTheLossInEveryType) {
  for (const char* compute : {"f32", "bf16", "f16"}) {
    Trainer trainer(recipe(compute), Device{}, alone);
    const std::vector<double> all = losses(trainer, 40);
    EXPECT_NEAR(all[0], std::log(29.0), 0.4) << compute << ": it knows nothing yet";
    EXPECT_LT(all.back(), 0.75 * all[0]) << compute;
  }
}

TEST_F(Training, ReportsWhatItDid) {
  Trainer trainer(recipe(), Device{}, alone);
  EXPECT_EQ(trainer.num_parameters(),
            2 * 29 * 16 + 16 + 2 * (2 * 16 + 16 * (16 + 8 + 8 + 16) + 3 * 16 * 24));
  const StepReport first = trainer.step({});
  EXPECT_EQ(first.step, 1);
  EXPECT_EQ(first.updates, 1);
  EXPECT_TRUE(first.applied);
  EXPECT_EQ(first.target_tokens, 8 * 12);
  EXPECT_EQ(first.loss_scale, 1);
  EXPECT_NEAR(first.learning_rate, 1e-2 / 3, 1e-9);
  EXPECT_GT(first.grad_norm, 0);
  EXPECT_FALSE(first.agreed.save || first.agreed.stop);
  const StepReport second = trainer.step({.save = true, .stop = true});
  EXPECT_EQ(second.tokens, 2 * 8 * 12);
  EXPECT_TRUE(second.agreed.save && second.agreed.stop);
}

TEST_F(Training, OfTheReferenceGivesTheSameLossesWithinRounding) {
  Recipe reference = recipe();
  reference.run.device = "reference";
  Trainer exact(reference, Device{Device::Kind::reference, 0}, alone);
  Trainer trainer(recipe(), Device{}, alone);
  const std::vector<double> truth = losses(exact, 5), actual = losses(trainer, 5);
  for (size_t step = 0; step < truth.size(); ++step)
    EXPECT_NEAR(actual[step] / truth[step], 1, 1e-5) << "step " << step;
}

TEST_F(Training, ResumesToTheSameBits) {
  for (const char* compute : {"f32", "bf16", "f16"}) {
    Recipe options = recipe(compute);
    options.precision.loss_scaling.growth_interval = 2;  // so that the scaler's state matters
    Trainer whole(options, Device{}, alone);
    const std::vector<double> all = losses(whole, 6);

    PosixStorage storage;
    const std::string root = directory / (std::string("checkpoints-") + compute);
    make_directories(storage, root);
    Trainer first(options, Device{}, alone);
    losses(first, 3);
    save_checkpoint(storage, alone.world(), root, {"run", 3, "", ""}, first.state());

    options.run.seed += 1;  // other initial weights: all of them must come from the checkpoint
    Trainer second(options, Device{}, alone);
    State state = second.state();
    ASSERT_TRUE(load_newest(storage, alone.world(), root, state));
    second.restore(state);
    EXPECT_EQ(second.steps_done(), 3);
    EXPECT_EQ(second.tokens_seen(), first.tokens_seen());
    const std::vector<double> rest = losses(second, 3);
    EXPECT_EQ(rest, std::vector<double>(all.begin() + 3, all.end())) << compute;
    EXPECT_TRUE(weight_bits(second) == weight_bits(whole)) << compute;
  }
}

// Samples 0 4 8 16 28 40: steps of 4, 4, 8, 12, 12.
Recipe with_ramp(Recipe recipe) {
  recipe.batch = {.global = 12, .micro = 2, .ramp = {.from = 4, .increment = 4, .tokens = 12 * 12}};
  return recipe;
}

TEST_F(Training, TakesMoreSequencesAStepAlongARamp) {
  Recipe tokens = with_ramp(recipe());
  tokens.run.steps = 0;
  tokens.run.tokens = 12 * 30;
  tokens.lr_schedule.kind = LrKind::phases;
  tokens.lr_schedule.warmup = {};
  tokens.lr_schedule.phases = {{.lr = 1e-2, .length = {.tokens = 12 * 8}},
                               {.lr = 1e-3, .length = {.tokens = 12 * 22}}};
  Trainer trainer(tokens, Device{}, alone);
  EXPECT_EQ(trainer.total_steps(), 5) << "the one at sample 28 reaches 30";
  EXPECT_EQ(trainer.total_samples(), 40);
  int64_t samples = 0;
  for (const int64_t sequences : {4, 4, 8, 12, 12}) {
    const double rate = samples < 8 ? 1e-2 : 1e-3;
    const StepReport report = trainer.step({});
    samples += sequences;
    EXPECT_EQ(report.sequences, sequences);
    EXPECT_EQ(report.samples, samples);
    EXPECT_EQ(report.target_tokens, 12 * sequences);
    EXPECT_EQ(report.tokens, 12 * samples);
    EXPECT_EQ(report.learning_rate, rate) << "at sample " << samples - sequences;
    EXPECT_EQ(trainer.total_steps(), 5);
  }
}

// The means over a step are over the sequences that it has.
TEST_F(Training, BeginsARampAsARunOfTheSmallBatchWould) {
  Recipe ramp = with_ramp(recipe());
  ramp.model = tiny_deepseek();
  ramp.router.sequence_aux_loss = 0.1;
  Recipe even = ramp;
  even.batch = {.global = 4, .micro = 2};
  Trainer first(ramp, Device{}, alone), second(even, Device{}, alone);
  for (int step = 0; step < 2; ++step) {
    const StepReport along = first.step({}), without = second.step({});
    EXPECT_EQ(along.loss, without.loss);
    EXPECT_EQ(along.grad_norm, without.grad_norm);
    EXPECT_EQ(along.aux_loss, without.aux_loss);
    EXPECT_GT(along.aux_loss, 0);
  }
  EXPECT_NE(first.step({}).loss, second.step({}).loss);
}

TEST_F(Training, ResumesInsideARampToTheSameBits) {
  const Recipe options = with_ramp(recipe("bf16"));
  Trainer whole(options, Device{}, alone);
  for (int step = 0; step < 5; ++step) whole.step({});
  for (int saved = 0; saved < 5; ++saved) {
    Trainer first(options, Device{}, alone);
    for (int step = 0; step < saved; ++step) first.step({});
    PosixStorage storage;
    const std::string root = directory / ("ramp-" + std::to_string(saved));
    make_directories(storage, root);
    save_checkpoint(storage, alone.world(), root, {"run", saved, "", ""}, first.state());
    Recipe other = options;
    other.run.seed += 1;
    Trainer second(other, Device{}, alone);
    State state = second.state();
    ASSERT_TRUE(load_newest(storage, alone.world(), root, state));
    second.restore(state);
    for (int step = saved; step < 5; ++step) second.step({});
    EXPECT_TRUE(weight_bits(second) == weight_bits(whole)) << "saved after " << saved;
  }
}

TEST_F(Training, RefusesAStateWithoutItsScalars) {
  Trainer trainer(recipe(), Device{}, alone);
  State state = trainer.state();
  state.scalars.erase("cursor");
  EXPECT_THAT(error_of([&] { trainer.restore(state); }), HasSubstr("no scalar 'cursor'"));
  state.scalars["cursor"] = "12x";
  EXPECT_THAT(error_of([&] { trainer.restore(state); }), HasSubstr("not a whole number: '12x'"));
}

TEST_F(Training, InSmallMicrobatchesIsTheSameAsInOne) {
  const auto losses_with = [&](int64_t micro) {
    Recipe options = recipe();
    options.batch.micro = micro;
    Trainer trainer(options, Device{}, alone);
    return losses(trainer, 6);
  };
  const std::vector<double> one = losses_with(8);
  for (const int64_t micro : {1, 4}) {
    const std::vector<double> many = losses_with(micro);
    for (size_t step = 0; step < one.size(); ++step)
      EXPECT_NEAR(many[step] / one[step], 1, 1e-5) << "step " << step << ", micro " << micro;
  }
}

TEST_F(Training, GivesTheSameBitsOnAnyNumberOfThreads) {
  for (const char* compute : {"f32", "bf16"}) {
    std::string one;
    for (const int count : {1, 2, 3}) {
      set_cpu_threads(count);
      Trainer trainer(recipe(compute), Device{}, alone);
      losses(trainer, 2);
      if (count == 1)
        one = weight_bits(trainer);
      else
        EXPECT_TRUE(weight_bits(trainer) == one) << compute << " on " << count << " threads";
    }
  }
}

TEST_F(Training, InF16SkipsStepsUntilTheScaleFitsAndNamesATensor) {
  Recipe options = recipe("f16");
  options.precision.loss_scaling.initial = 0x1p24;
  Trainer trainer(options, Device{}, alone);
  const std::string start = weight_bits(trainer);
  int skipped = 0;
  StepReport report = trainer.step({});
  for (; !report.applied; report = trainer.step({})) {
    ++skipped;
    EXPECT_THAT(report.overflow, HasSubstr("weight grad on rank 0"));
    EXPECT_EQ(report.updates, 0);
    EXPECT_EQ(report.step, skipped);
    EXPECT_EQ(report.loss_scale, std::ldexp(1.0, 25 - skipped));
    EXPECT_TRUE(std::isfinite(report.loss)) << "the loss itself is not scaled";
    EXPECT_TRUE(weight_bits(trainer) == start) << "a skipped step leaves the weights alone";
    ASSERT_LT(skipped, 20);
  }
  EXPECT_GE(skipped, 1);
  EXPECT_EQ(report.updates, 1);
  EXPECT_EQ(report.step, skipped + 1);
  EXPECT_FALSE(weight_bits(trainer) == start);
  EXPECT_LT(losses(trainer, 30).back(), 0.8 * report.loss);
}

TEST_F(Training, StopsWithTheNameOfTheTensorWhenItDiverges) {
  Recipe options = recipe();
  options.on_failure.max_skips = 2;
  Trainer trainer(options, Device{}, alone);
  State weights = trainer.weights();
  for (const StateEntry& entry : weights.entries)
    if (entry.name == "model.layers.1.mlp.up_proj.weight")
      entry.tensor.as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  trainer.publish_weights();
  for (int step = 0; step < 2; ++step) EXPECT_FALSE(trainer.step({}).applied);
  const std::string error = error_of([&] { trainer.step({}); });
  EXPECT_THAT(error, HasSubstr("numeric: "));
  EXPECT_THAT(error, HasSubstr("first: "));
  EXPECT_THAT(error, HasSubstr("weight grad"));
}

TEST_F(Training, ClipsTheGradientByItsGlobalNorm) {
  // Adam's first step does not depend on the size of the gradient, its moments do.
  Recipe options = recipe();
  options.optimizer.grad_clip = 0;
  Trainer free(options, Device{}, alone);
  const double norm = free.step({}).grad_norm;
  options.optimizer.grad_clip = norm / 4;
  Trainer clipped(options, Device{}, alone);
  EXPECT_EQ(clipped.step({}).grad_norm, norm) << "reported before clipping";
  const auto moments = [](const Trainer& trainer) {
    const ParameterStore& store = trainer.parameters();
    return values_of_all(store, [&](const Piece& piece) { return store.state(0, piece); });
  };
  const std::vector<double> whole = moments(free), cut = moments(clipped);
  double largest = 0, squares = 0;  // the first moment is 0.1 times the gradient
  for (size_t i = 0; i < whole.size(); ++i) {
    ASSERT_NEAR(cut[i], whole[i] / 4, 1e-5 * std::abs(whole[i]) + 1e-12);
    largest = std::max(largest, std::abs(whole[i]));
    squares += 100.0 * whole[i] * whole[i];
  }
  EXPECT_GT(largest, 1e-4);
  EXPECT_NEAR(std::sqrt(squares) / norm, 1, 1e-5);
}

TEST_F(Training, EvaluatesTheSameWhateverTheMicrobatch) {
  Recipe options = recipe();
  options.data.validation = options.data.train;
  Trainer trainer(options, Device{}, alone);
  const EvalReport before = trainer.evaluate();
  EXPECT_NEAR(before.loss, std::log(29.0), 0.4);
  EXPECT_EQ(before.perplexity(), std::exp(before.loss));
  EXPECT_EQ(before.bits_per_byte, 0) << "no tokenizer";
  options.batch.micro = 8;
  Trainer other(options, Device{}, alone);
  EXPECT_EQ(other.evaluate().tokens, before.tokens);
  EXPECT_NEAR(other.evaluate().loss, before.loss, 1e-6);
  losses(trainer, 30);
  EXPECT_LT(trainer.evaluate().loss, 0.8 * before.loss);
}

TEST(ExpertBalance, MovesTheBiasesOfTheTrainerAndSavesThem) {
  const TemporaryDirectory directory;
  write_tiny_tokens(directory / "tokens");
  Recipe recipe = tiny_recipe(directory / "tokens");
  recipe.model = tiny_deepseek();
  recipe.router.balance = Balance::aux_free;
  recipe.router.bias_update_speed = 0.5;
  recipe.router.bias_update.tokens = 2 * 8 * 12 + 1;  // two steps
  const Communicators alone;
  Trainer trainer(recipe, Device{}, alone);
  const auto biases = [&] {
    std::vector<double> all;
    for (const StateEntry& entry : trainer.state().entries)
      if (entry.name.ends_with("e_score_correction_bias"))
        for (const double bias : values_of(entry.tensor)) all.push_back(bias);
    return all;
  };
  EXPECT_EQ(biases(), std::vector<double>(4 * 8, 0)) << "three blocks and a prediction's";
  const StepReport report = trainer.step({});
  EXPECT_GT(report.mtp_loss, 0);
  const std::vector<double> once = biases();
  for (const double bias : once) EXPECT_TRUE(std::abs(bias) == 0.5 || bias == 0) << bias;
  EXPECT_NE(once, std::vector<double>(4 * 8, 0));
  trainer.step({});
  const std::vector<double> twice = biases();
  EXPECT_NE(twice, once);
  trainer.step({});
  EXPECT_EQ(biases(), twice) << "bias_update_tokens are over";
}

}  // namespace
}  // namespace tessera::test
