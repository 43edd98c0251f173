// SPDX-License-Identifier: Apache-2.0
// What happens in a run, and when, as an observer sees it; on a disk in memory that can fail.
#include "trainer/training_loop.h"

#include <cerrno>
#include <functional>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/retention.h"
#include "kernels/cpu_path.h"
#include "tests/support/errors.h"
#include "tests/support/faulty_storage.h"
#include "tests/support/lines.h"
#include "tests/support/temporary.h"
#include "tests/support/tiny_model.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kRoot = "run/checkpoints";

// The events in short: "1 2 e2 c2" is two steps, an evaluation and a checkpoint of step 2; "x2" is
// a save that failed, "x2!" one that ends the run.
class Diary : public Observer {
 public:
  std::function<void(int64_t step)> after_step = [](int64_t) {};
  std::function<void()> during_eval = [] {};
  std::function<void()> at_last = [] {};  // after that
  std::vector<std::string> warnings;
  std::vector<double> parts;
  int64_t first_applied = 0;  // step

  void on_step(const StepReport& report) override {
    note(std::to_string(report.step));
    if (report.applied && first_applied == 0) first_applied = report.step;
    after_step(report.step);
    at_last();
  }
  void on_eval_progress(int64_t, double part) override {
    parts.push_back(part);
    during_eval();
  }
  void on_eval(const EvalReport& report) override { note("e" + std::to_string(report.step)); }
  void on_checkpoint(const CheckpointEvent& event) override {
    note((event.error.empty() ? "c" : "x") + std::to_string(event.step) +
         (event.ends_run ? "!" : ""));
  }
  void on_warning(Warning warning, const std::string& text) override {
    warnings.push_back(coded(warning, text));
  }
  std::string text() const { return text_.substr(0, text_.size() - 1); }

 private:
  void note(const std::string& event) { text_ += event + " "; }
  std::string text_;
};

struct TrainingLoop : testing::Test {
  TemporaryDirectory directory;
  Communicators alone;
  FaultyStorage disk;
  Diary diary;
  LoopOptions options;
  Recipe recipe;
  const int threads = cpu_threads();

  TrainingLoop() {
    set_cpu_threads(1);
    options.checkpoints = kRoot;
    options.observers = {&diary};
    write_tiny_tokens(directory / "tokens");
    recipe = tiny_recipe(directory / "tokens");
    recipe.data.validation = recipe.data.train;
    recipe.run.steps = 5;
    recipe.run.eval_batches = 1;
  }
  ~TrainingLoop() override { set_cpu_threads(threads); }
  bool spoil = false;  // one weight, after the step in which this is set
  Outcome run() {
    Trainer trainer(recipe, Device{}, alone);
    diary.at_last = [&] {
      if (!spoil) return;
      const Tensor weights = trainer.state().entries.back().tensor;
      weights.as<float>()[weights.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    };
    return run_training(trainer, alone, disk, options);
  }
};

TEST_F(TrainingLoop, EvaluatesAndSavesAtTheEndWhateverTheRecipeSays) {
  EXPECT_EQ(run(), Outcome::done);
  EXPECT_EQ(diary.text(), "1 2 3 4 5 c5 e5");
}

TEST_F(TrainingLoop, EvaluatesAndSavesAsOftenAsTheRecipeSaysAndOnceAtTheEnd) {
  recipe.run.eval_every = 2;
  recipe.checkpoint.every_steps = 5;
  EXPECT_EQ(run(), Outcome::done);
  EXPECT_EQ(diary.text(), "1 2 e2 3 4 e4 5 c5 e5");
}

TEST_F(TrainingLoop, TellsHowFarAnEvaluationIs) {
  recipe.run.eval_batches = 2;  // of 8 sequences each, 2 at a time
  run();
  EXPECT_THAT(diary.parts, ElementsAre(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1));
}

TEST_F(TrainingLoop, WithoutValidationTextOnlySaves) {
  recipe.data.validation.clear();
  recipe.run.eval_every = 2;
  recipe.checkpoint.every_steps = 2;
  run();
  EXPECT_EQ(diary.text(), "1 2 c2 3 4 c4 5 c5");
}

TEST_F(TrainingLoop, KeepsOnlyTheNewestCheckpointsAndThosePinned) {
  recipe.checkpoint.every_steps = 1;
  recipe.checkpoint.keep.last = 2;
  options.pinned_steps = {1};
  run();
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(1, 4, 5));
}

TEST_F(TrainingLoop, KeepsAllWhenAskedForMoreThanAnIntHolds) {
  recipe.checkpoint.every_steps = 1;
  recipe.checkpoint.keep.last = 1'000'000'000'000;
  run();
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(1, 2, 3, 4, 5));
}

TEST_F(TrainingLoop, WhatAnEarlierRunLeftAboveNeitherCountsNorPushesOutWhatIsSaved) {
  for (const int64_t step : {80, 90, 100}) save_of(disk, kRoot, 1, -1, step);
  options.generation = 2;
  recipe.checkpoint.every_steps = 1;
  recipe.checkpoint.keep.last = 2;
  run();
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(4, 5));
  EXPECT_EQ(newest_valid(disk, kRoot).step, 5);
}

TEST_F(TrainingLoop, WeightsThatAreNotFiniteAreNotSavedAndEndTheRun) {
  recipe.checkpoint.every_steps = 1;
  diary.after_step = [&](int64_t step) {
    if (step == 3) spoil = true;
  };
  EXPECT_THAT(error_of([&] { run(); }),
              AllOf(StartsWith("numeric: tensor "), HasSubstr(" is not finite")));
  EXPECT_EQ(diary.text(), "1 c1 2 c2 3");
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(1, 2));
}

TEST_F(TrainingLoop, ARunThatLearnsNothingEndsWithAnErrorAndSavesNothing) {
  recipe.optimizer.lr = 1e38;
  recipe.lr_schedule.warmup.steps = 0;
  recipe.run.steps = 3;
  recipe.checkpoint.every_steps = 2;
  EXPECT_THAT(error_of([&] { run(); }), StartsWith("numeric: "));
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre());
}

TEST_F(TrainingLoop, ASaveThatFallsDueWhileStepsAreSkippedWaitsForTheNextUpdate) {
  recipe.precision.compute = ComputeType::f16;
  recipe.precision.loss_scaling.initial = 0x1p26;  // too high for some steps
  recipe.run.steps = 30;
  recipe.run.eval_every = 0;
  recipe.checkpoint.every_steps = 4;
  run();
  EXPECT_GT(diary.first_applied, 4);
  const std::string text = diary.text();
  EXPECT_EQ(text.find(" c4 "), std::string::npos) << text;
  const std::string first = " c" + std::to_string(diary.first_applied) + " ";
  EXPECT_NE(text.find(first), std::string::npos) << text << " wants" << first;
}

TEST_F(TrainingLoop, AFullDiskIsGivenTheOldestCheckpointsRoom) {
  recipe.run.steps = 4;
  recipe.checkpoint.every_steps = 1;
  recipe.checkpoint.keep.last = 2;
  diary.after_step = [&](int64_t step) {
    if (step == 3) disk.hold_at_most(disk.bytes());  // full with two
  };
  EXPECT_EQ(run(), Outcome::done);
  EXPECT_EQ(diary.text(), "1 c1 2 c2 3 c3 4 c4 e4");
  EXPECT_THAT(diary.warnings, Contains(StartsWith("W032 the disk is full")));
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(3, 4));
}

TEST_F(TrainingLoop, TheLastSoundCheckpointIsNeverGivenAwayForRoom) {
  recipe.run.steps = 4;
  recipe.checkpoint.every_steps = 1;
  recipe.checkpoint.keep.last = 1;
  recipe.checkpoint.max_failures = 2;
  diary.after_step = [&](int64_t step) {
    if (step == 2) disk.hold_at_most(1);
  };
  EXPECT_THAT(error_of([&] { run(); }), StartsWith("storage: 2 save(s) in a row failed"));
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(1));
}

TEST_F(TrainingLoop, StopsWhenAnotherJobHasTakenOver) {
  recipe.checkpoint.every_steps = 2;
  bool held = true;
  options.still_held = [&] { check(held, ErrorKind::busy, "taken over"); };
  diary.after_step = [&](int64_t step) { held = step < 3; };
  EXPECT_THAT(error_of([&] { run(); }), StartsWith("busy: taken over"));
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(2));
}

TEST_F(TrainingLoop, SavesByTheClock) {
  recipe.checkpoint.every_seconds = 1e-9;
  run();
  EXPECT_EQ(diary.text(), "1 c1 2 c2 3 c3 4 c4 5 c5 e5");
}

TEST_F(TrainingLoop, StopsAfterTheStepAskedForAndSaves) {
  options.stop_after = 3;
  EXPECT_EQ(run(), Outcome::stopped);
  EXPECT_EQ(diary.text(), "1 2 3 c3 e3");
  options.stop_after = 9;
  EXPECT_EQ(run(), Outcome::done) << "beyond the last step it changes nothing";
}

TEST_F(TrainingLoop, ASignalSavesAtOnceWithoutAnEvaluation) {
  bool signalled = false;
  diary.after_step = [&](int64_t step) { signalled = step == 2; };
  options.stop_requested = [&] { return signalled; };
  EXPECT_EQ(run(), Outcome::preempted);
  EXPECT_EQ(diary.text(), "1 2 3 c3");
}

TEST_F(TrainingLoop, ASignalEndsAnEvaluationAndSaves) {
  recipe.run.eval_every = 2;
  recipe.run.eval_batches = 0;  // several parts
  bool signalled = false;
  diary.during_eval = [&] { signalled = true; };
  options.stop_requested = [&] { return signalled; };
  EXPECT_EQ(run(), Outcome::preempted);
  EXPECT_EQ(diary.text(), "1 2 c2");
  EXPECT_THAT(diary.warnings, ElementsAre(HasSubstr("ended the evaluation of step 2")));
  recipe.checkpoint.on_preempt = OnPreempt::stop;
  EXPECT_EQ(run(), Outcome::preempted);
}

TEST_F(TrainingLoop, ASignalDuringTheLastEvaluationCostsTheEvaluationAlone) {
  recipe.run.eval_batches = 0;
  bool signalled = false;
  diary.during_eval = [&] { signalled = true; };
  options.stop_requested = [&] { return signalled; };
  EXPECT_EQ(run(), Outcome::done);
  EXPECT_EQ(diary.text(), "1 2 3 4 5 c5");
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(5));
}

TEST_F(TrainingLoop, AnEvaluationThatFailsDoesNotCostTheLastSave) {
  recipe.data.validation = directory / "absent";
  EXPECT_THAT(error_of([&] { run(); }), StartsWith("data: "));
  EXPECT_EQ(diary.text(), "1 2 3 4 5 c5");
  EXPECT_THAT(committed_steps(disk, kRoot), ElementsAre(5));
}

TEST_F(TrainingLoop, ASignalDuringTheLastStepIsARunThatIsDone) {
  diary.after_step = [&](int64_t step) {
    if (step == 4) options.stop_requested = [] { return true; };
  };
  EXPECT_EQ(run(), Outcome::done);
  EXPECT_EQ(diary.text(), "1 2 3 4 5 c5");
}

TEST_F(TrainingLoop, ASignalSavesNothingWhenTheRecipeSaysStop) {
  recipe.checkpoint.on_preempt = OnPreempt::stop;
  options.stop_requested = [] { return true; };
  EXPECT_EQ(run(), Outcome::preempted);
  EXPECT_EQ(diary.text(), "1");
}

TEST_F(TrainingLoop, AFailedSaveIsToldAndTrainingGoesOn) {
  recipe.checkpoint.every_steps = 2;
  diary.after_step = [&](int64_t step) {
    if (step == 2) disk.fail_at(1, EIO);
  };
  EXPECT_EQ(run(), Outcome::done);
  EXPECT_EQ(diary.text(), "1 2 x2 3 4 c4 5 c5 e5");
}

TEST_F(TrainingLoop, EndsWithTheFailureThatIsOneTooMany) {
  recipe.checkpoint.every_steps = 1;
  recipe.checkpoint.max_failures = 2;
  disk.run_full_at(1);
  const std::string error = error_of([&] { run(); });
  EXPECT_THAT(error, StartsWith("storage: 2 save(s) in a row failed"));
  EXPECT_THAT(error, HasSubstr("No space left on device"));
  EXPECT_EQ(diary.text(), "1 x1 2 x2!");
}

TEST_F(TrainingLoop, FailsWhenTheLastSaveFails) {
  diary.after_step = [&](int64_t step) {
    if (step == 5) disk.run_full_at(1);
  };
  EXPECT_THAT(error_of([&] { run(); }), StartsWith("storage: 1 save(s) in a row failed"));
  EXPECT_EQ(diary.text(), "1 2 3 4 5 x5!");
}

TEST_F(TrainingLoop, ASavedStepMakesEarlierFailuresForgotten) {
  recipe.checkpoint.every_steps = 1;
  recipe.checkpoint.max_failures = 2;
  diary.after_step = [&](int64_t step) {
    if (step % 2 == 0) disk.fail_at(1, EIO);
  };
  EXPECT_EQ(run(), Outcome::done);
  EXPECT_EQ(diary.text(), "1 c1 2 x2 3 c3 4 x4 5 c5 e5");
}

}  // namespace
}  // namespace tessera::test
