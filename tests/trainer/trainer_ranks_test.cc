// SPDX-License-Identifier: Apache-2.0
// The same recipe on any number of ranks: the same samples, so the same losses within rounding.
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/load.h"
#include "checkpoint/writer.h"
#include "tests/support/rank_world.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"
#include "trainer/trainer.h"

namespace tessera::test {
namespace {

using testing::HasSubstr;

struct TrainingOnRanks : testing::Test {
  std::optional<TemporaryDirectory> mine;  // rank 0's
  std::string directory;
  Communicators comms{world(), ProcessGrid::filling(world().size(), {})};

  TrainingOnRanks() {
    if (world().rank() == 0) {
      mine.emplace();
      write_tiny_tokens(*mine / "tokens");
      directory = mine->path();
    }
    directory = world().all().broadcast(directory, 0, "directory");
  }
  ~TrainingOnRanks() override { world().all().barrier("end of test"); }

  // A microbatch of one: as many ranks as sequences could share a step.
  Recipe recipe(const std::string& compute = "f32") const {
    Recipe options = tiny_recipe(directory + "/tokens", compute);
    options.batch.micro = 1;
    options.data.validation = options.data.train;
    return options;
  }
  // What rank 0 says, on every rank.
  std::vector<double> from_rank_0(const std::vector<double>& values) const {
    std::string bytes(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(double));
    bytes = world().all().broadcast(bytes, 0, "numbers of rank 0");
    std::vector<double> result(bytes.size() / sizeof(double));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }
  static std::vector<double> run(const Recipe& recipe, const Communicators& with, int steps) {
    Trainer trainer(recipe, Device{}, with);
    std::vector<double> numbers;
    for (int step = 0; step < steps; ++step) {
      const StepReport report = trainer.step({});
      numbers.insert(numbers.end(),
                     {report.loss, report.grad_norm, static_cast<double>(report.target_tokens)});
    }
    const EvalReport report = trainer.evaluate();
    numbers.insert(numbers.end(), {report.loss, static_cast<double>(report.tokens)});
    return numbers;
  }
};

TEST_F(TrainingOnRanks, GivesTheLossesOfOneRank) {
  std::vector<double> alone;
  if (world().rank() == 0) alone = run(recipe(), Communicators(), 5);
  alone = from_rank_0(alone);
  const std::vector<double> together = run(recipe(), comms, 5);
  ASSERT_EQ(together.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i)
    EXPECT_NEAR(together[i] / alone[i], 1, 1e-5) << "number " << i;
  EXPECT_EQ(from_rank_0(together), together) << "every rank reports the same bits";
}

// Five steps of 4, 4, 8, 12 and 12 sequences.
TEST_F(TrainingOnRanks, GivesTheLossesOfOneRankAlongARamp) {
  Recipe ramp = recipe();
  ramp.batch.global = 12;
  ramp.batch.ramp = {.from = 4, .increment = 4, .tokens = 12 * 12};
  std::vector<double> alone;
  if (world().rank() == 0) alone = run(ramp, Communicators(), 5);
  alone = from_rank_0(alone);
  const std::vector<double> together = run(ramp, comms, 5);
  ASSERT_EQ(together.size(), alone.size());
  for (size_t i = 0; i < alone.size(); ++i)
    EXPECT_NEAR(together[i] / alone[i], 1, 1e-5) << "number " << i;
  EXPECT_EQ(together[2], 4 * 12);
  EXPECT_EQ(together[14], 12 * 12);
}

// 4 sequences, then 8: powers of two of microbatches on 1, 2 and 4 ranks.
TEST_F(TrainingOnRanks, GivesTheBitsOfOneRankAlongARampWhenLayoutFree) {
  Recipe ramp = recipe();
  ramp.batch.ramp = {.from = 4, .increment = 4, .tokens = 12 * 6};
  ramp.run.determinism = Determinism::layout_free;
  std::vector<double> alone;
  if (world().rank() == 0) alone = run(ramp, Communicators(), 5);
  EXPECT_EQ(run(ramp, comms, 5), from_rank_0(alone));
}

// Steps of 2, 2, 4, 6 and 6 microbatches; dualpipe_v has plans for the last three.
TEST_F(TrainingOnRanks, GivesTheBitsOfOneStageAlongARamp) {
  if (world().size() != 2) GTEST_SKIP() << "two stages";
  Recipe ramp = recipe("bf16");
  ramp.model.num_hidden_layers = 4;
  ramp.batch.global = 6;
  ramp.batch.ramp = {.from = 2, .increment = 2, .tokens = 12 * 8};
  std::vector<double> alone;
  if (world().rank() == 0) alone = run(ramp, Communicators(), 5);
  alone = from_rank_0(alone);
  ramp.parallel.pipeline = 2;
  const Communicators stages(world(), ProcessGrid::filling(2, {.pipeline = 2}));
  for (const char* schedule : {"gpipe", "1f1b", "interleaved", "zb_h1", "zb_v"}) {
    ramp.parallel.schedule = schedule;
    EXPECT_TRUE(validate(ramp, 2).empty()) << schedule;
    EXPECT_EQ(run(ramp, stages, 5), alone) << schedule;
  }
  ramp.parallel.schedule = "dualpipe_v";
  ramp.batch.ramp.schedule = "zb_v";
  EXPECT_TRUE(validate(ramp, 2).empty());
  EXPECT_EQ(run(ramp, stages, 5), alone);
}

TEST_F(TrainingOnRanks, KeepsTheWeightsOfAllRanksEqual) {
  for (const char* compute : {"f32", "bf16"}) {
    Trainer trainer(recipe(compute), Device{}, comms);
    const std::string start = weight_bits(trainer);
    for (int step = 0; step < 3; ++step) trainer.step({});
    const std::string bits = weight_bits(trainer);
    EXPECT_TRUE(bits != start);
    EXPECT_TRUE(world().all().broadcast(bits, 0) == bits) << compute;
  }
}

TEST_F(TrainingOnRanks, GivesTheSameBitsTwiceAndAfterAResume) {
  Trainer whole(recipe("bf16"), Device{}, comms);
  for (int step = 0; step < 6; ++step) whole.step({});
  PosixStorage storage;
  const std::string root = directory + "/checkpoints";
  if (world().rank() == 0) make_directories(storage, root);
  world().all().barrier();
  Trainer first(recipe("bf16"), Device{}, comms);
  for (int step = 0; step < 3; ++step) first.step({});
  save_checkpoint(storage, comms.world(), root, {"run", 3, "", ""}, first.state());
  Recipe other = recipe("bf16");
  other.run.seed += 1;
  Trainer second(other, Device{}, comms);
  State state = second.state();
  ASSERT_TRUE(load_newest(storage, comms.world(), root, state));
  second.restore(state);
  for (int step = 0; step < 3; ++step) second.step({});
  EXPECT_TRUE(weight_bits(second) == weight_bits(whole));
}

TEST_F(TrainingOnRanks, AgreesOnTheWishesOfAnyRank) {
  Trainer trainer(recipe(), Device{}, comms);
  const bool last = world().rank() + 1 == world().size();
  const StepReport report = trainer.step({.save = last, .stop = false});
  EXPECT_TRUE(report.agreed.save);
  EXPECT_FALSE(report.agreed.stop);
}

TEST_F(TrainingOnRanks, NamesTheRanksWhoseGradientsOverflowed) {
  Recipe options = recipe("f16");
  options.precision.loss_scaling.initial = 0x1p24;
  Trainer trainer(options, Device{}, comms);
  const StepReport report = trainer.step({});
  EXPECT_FALSE(report.applied);
  std::string ranks = "weight grad on rank 0";
  for (int rank = 1; rank < world().size(); ++rank) ranks += ", " + std::to_string(rank);
  EXPECT_THAT(report.overflow, HasSubstr(ranks));
  EXPECT_EQ(world().all().broadcast(report.overflow, 0), report.overflow);
}

}  // namespace
}  // namespace tessera::test
