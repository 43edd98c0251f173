// SPDX-License-Identifier: Apache-2.0
// Steps on a GPU whose numbers the host reads one step late, against the stand-in: the reports and
// the weights are those of the CPU, to the last bit, and in between the host waits for nothing
// else.
#include <bit>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/trace.h"
#include "kernels/transfer.h"
#include "tests/support/errors.h"
#include "tests/support/stand_in.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/training_loop.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

constexpr int32_t kRare = 28;

// Text in which one token stands in few places.
void write_tokens_with_a_rare_one(const std::string& prefix) {
  TokenFileWriter writer(prefix, 29);
  for (int document = 0; document < 160; ++document) {
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 30; ++i) tokens.push_back((document * 7 + i * 5) % kRare);
    if (document % 12 == 7) tokens[11] = kRare;
    writer.add(tokens);
    writer.end_document();
  }
  writer.finish({});
}

// Of the named parameter, whose first elements become NaN.
void spoil(Trainer& trainer, const std::string& name, int64_t first, int64_t count) {
  Stream& stream = trainer.stream();
  for (const StateEntry& entry : trainer.weights().entries)
    if (entry.name == name)
      upload(
          stream,
          std::vector<float>(static_cast<size_t>(count), std::numeric_limits<float>::quiet_NaN()),
          entry.tensor.flat().column_slice(first, count));
  trainer.publish_weights();
}

void expect_same(const StepReport& late, const StepReport& at_once) {
  const auto bits = [](double value) { return std::bit_cast<uint64_t>(value); };
  EXPECT_EQ(late.step, at_once.step);
  EXPECT_EQ(late.updates, at_once.updates);
  EXPECT_EQ(late.applied, at_once.applied);
  EXPECT_EQ(late.overflow, at_once.overflow);
  EXPECT_EQ(late.tokens, at_once.tokens);
  EXPECT_EQ(late.samples, at_once.samples);
  if (at_once.applied) {
    EXPECT_EQ(bits(late.loss), bits(at_once.loss));
    EXPECT_EQ(bits(late.grad_norm), bits(at_once.grad_norm));
  }
  EXPECT_EQ(bits(late.learning_rate), bits(at_once.learning_rate));
  EXPECT_EQ(bits(late.grad_unscale), bits(at_once.grad_unscale));
  EXPECT_EQ(bits(late.loss_scale), bits(at_once.loss_scale));
  EXPECT_EQ(bits(late.aux_loss), bits(at_once.aux_loss));
  EXPECT_EQ(late.extra_rounds, at_once.extra_rounds);
  EXPECT_EQ(bits(late.expert_load()), bits(at_once.expert_load()));
}

struct Steady : testing::Test {
  TemporaryDirectory directory;
  Communicators alone;
  Steady() { write_tokens_with_a_rare_one(directory / "tokens"); }
  Recipe recipe(const std::string& compute = "f32") const {
    Recipe made = tiny_recipe(directory / "tokens", compute);
    made.lr_schedule.warmup.steps = 20;  // another rate at each update
    return made;
  }

  // `steps` steps, late on the stand-in, at once on the CPU; returns how many were skipped.
  int compare(Trainer& late, Trainer& at_once, int steps) const {
    int skipped = 0;
    std::vector<StepReport> reports;
    for (int step = 0; step < steps; ++step) {
      const std::optional<StepReport> before = late.advance({});
      EXPECT_EQ(before.has_value(), step > 0);
      if (!before) continue;
      EXPECT_EQ(before->step, late.steps_done() - 1);
      reports.push_back(*before);
    }
    reports.push_back(late.settle().value());
    EXPECT_FALSE(late.settle().has_value());
    for (const StepReport& report : reports) {
      expect_same(report, at_once.step({}));
      skipped += !report.applied;
    }
    return skipped;
  }
  static std::string bits_of_weights(Trainer& trainer) {
    std::string bits;
    for (const StateEntry& entry : trainer.state().entries) {
      const Tensor host = on_host(trainer.stream(), entry.tensor.flat());
      bits.append(static_cast<const char*>(host.data()), static_cast<size_t>(host.bytes()));
    }
    return bits;
  }
};

TEST_F(Steady, HasTheBitsOfTheCpuOneStepLate) {
  for (const char* compute : {"f32", "bf16"}) {
    Trainer late(recipe(compute), kStandIn, alone), at_once(recipe(compute), Device{}, alone);
    EXPECT_TRUE(late.reports_late());
    EXPECT_FALSE(at_once.reports_late());
    EXPECT_EQ(compare(late, at_once, 9), 0);
    EXPECT_TRUE(bits_of_weights(late) == bits_of_weights(at_once)) << compute;
  }
}

TEST_F(Steady, SkipsOnTheDeviceAndGoesOnAtTheRateOfTheUpdatesApplied) {
  Recipe options = recipe();
  options.on_failure.max_skips = 3;
  Trainer late(options, kStandIn, alone), at_once(options, Device{}, alone);
  for (Trainer* trainer : {&late, &at_once})
    spoil(*trainer, "model.embed_tokens.weight", kRare * 16, 16);
  const int steps = 12, skipped = compare(late, at_once, steps);
  EXPECT_GT(skipped, 0) << "the rare token was not met";
  EXPECT_LT(skipped, steps) << "the rare token was in every step";
  EXPECT_TRUE(bits_of_weights(late) == bits_of_weights(at_once));
}

TEST_F(Steady, WaitsForTheStepBeforeAndForNothingElse) {
  Trainer trainer(recipe("bf16"), kStandIn, alone);
  for (int step = 0; step < 3; ++step) trainer.advance({});
  const StandInCounts before = stand_in_counts();
  for (int step = 0; step < 5; ++step) trainer.advance({});
  const StandInCounts after = stand_in_counts();
  EXPECT_EQ(after.queue_waits - before.queue_waits, 0);
  EXPECT_EQ(after.mark_waits - before.mark_waits, 5) << "one for the numbers of each step";
  EXPECT_EQ(after.timed_records - before.timed_records, 0) << "nobody records";
  trainer.settle();
}

TEST_F(Steady, WaitsForNothingElseWhileItIsRecorded) {
  Trainer trainer(recipe("bf16"), kStandIn, alone);
  for (int step = 0; step < 3; ++step) trainer.advance({});
  trace::start(kStandIn);
  const StandInCounts before = stand_in_counts();
  for (int step = 0; step < 5; ++step) trainer.advance({});
  const StandInCounts after = stand_in_counts();
  trace::stop();
  EXPECT_EQ(after.queue_waits - before.queue_waits, 0);
  EXPECT_EQ(after.mark_waits - before.mark_waits, 5);
  EXPECT_GT(after.timed_records - before.timed_records, 5 * 2 * 10) << "both ends of each range";
  EXPECT_EQ(after.timed_marks, before.timed_marks) << "they were made ahead";
  trainer.settle();
}

TEST_F(Steady, FindsTheLossScaleOnTheDevice) {
  for (const LossScalingStyle style : {LossScalingStyle::pytorch, LossScalingStyle::megatron}) {
    SCOPED_TRACE(name_of(style));
    Recipe options = recipe("f16");
    options.precision.loss_scaling.style = style;
    options.precision.loss_scaling.initial = 1 << 26;  // falls, step by step, until it is good
    options.precision.loss_scaling.growth_interval = 2;
    Trainer late(options, kStandIn, alone), at_once(options, Device{}, alone);
    const int steps = 24, skipped = compare(late, at_once, steps);
    EXPECT_GT(skipped, 2);
    EXPECT_LT(skipped, steps);
    EXPECT_TRUE(bits_of_weights(late) == bits_of_weights(at_once));
    EXPECT_EQ(late.state().scalars, at_once.state().scalars);
  }
}

TEST_F(Steady, WaitsForNothingElseWithALossScaleExpertsOrPrediction) {
  for (const char* compute : {"f16", "bf16"}) {
    SCOPED_TRACE(compute);
    Recipe options = recipe(compute);
    if (std::string(compute) == "bf16") {
      options.model = tiny_deepseek();
      options.router.sequence_aux_loss = 1e-3;
    }
    Trainer trainer(options, kStandIn, alone);
    for (int step = 0; step < 3; ++step) trainer.advance({});
    const StandInCounts before = stand_in_counts();
    for (int step = 0; step < 5; ++step) trainer.advance({});
    const StandInCounts after = stand_in_counts();
    EXPECT_EQ(after.queue_waits - before.queue_waits, 0);
    EXPECT_EQ(after.mark_waits - before.mark_waits, 5);
    trainer.settle();
  }
}

TEST_F(Steady, BalancesExpertsOnTheDevice) {
  Recipe options = recipe();
  options.model = tiny_deepseek();
  options.model.vocab_size = 29;
  options.router.sequence_aux_loss = 1e-2;
  options.router.bias_update = {.steps = 6};
  options.router.rebalance_every = 4;
  Trainer late(options, kStandIn, alone), at_once(options, Device{}, alone);
  for (Trainer* trainer : {&late, &at_once})
    spoil(*trainer, "model.embed_tokens.weight", kRare * options.model.hidden_size, 16);
  const int steps = 12, skipped = compare(late, at_once, steps);
  EXPECT_GT(skipped, 0) << "the rare token was not met";
  EXPECT_LT(skipped, steps) << "the rare token was in every step";
  EXPECT_TRUE(bits_of_weights(late) == bits_of_weights(at_once)) << "biases too";
}

TEST_F(Steady, StopsWithTheNameOfTheTensorOneStepLate) {
  Recipe options = recipe();
  options.on_failure.max_skips = 2;
  Trainer trainer(options, kStandIn, alone);
  spoil(trainer, "model.layers.1.mlp.up_proj.weight", 0, 1);
  for (int step = 0; step < 3; ++step) trainer.advance({});
  const std::string error = error_of([&] { trainer.advance({}); });
  EXPECT_THAT(error, HasSubstr("numeric: "));
  EXPECT_THAT(error, HasSubstr("step 3 is the 3. in a row"));
  EXPECT_THAT(error, HasSubstr("weight grad"));
}

TEST_F(Steady, HasNoStateToSaveBeforeItWasSettled) {
  Trainer trainer(recipe(), kStandIn, alone);
  trainer.advance({});
  EXPECT_THAT(error_of([&] { trainer.state(); }), HasSubstr("nobody has the report"));
  EXPECT_THAT(error_of([&] { trainer.step({}); }), HasSubstr("nobody has the report"));
  trainer.settle();
  EXPECT_EQ(trainer.state().scalars.at("updates"), "1");
}

}  // namespace
}  // namespace tessera::test
