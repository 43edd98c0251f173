// SPDX-License-Identifier: Apache-2.0
// Going back, starting afresh, damage and second jobs: no committed work is lost, and the next
// start takes what its line saved last.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

ProgramResult train(const std::string& run, Words words) {
  words.insert(words.begin(), {"train", "recipe.yaml", "--run-dir", run, "data.validation=null",
                               "metrics.tensorboard=false"});
  return workshop().tessera(words);
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(workshop() / directory))
    if (entry.path().filename().string().rfind("LEASE.", 0) != 0)
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Line, ResumeNoneStartsALineOfItsOwnWhereTheCheckpointsLieOutside) {
  const std::string where = "checkpoint.directory=scratch/{name}";
  ASSERT_EQ(train("outside", {where, "run.steps=6", "checkpoint.every=2"}).exit_code, 0);
  const ProgramResult fresh =
      train("outside", {where, "run.steps=4", "checkpoint.every=2", "--resume", "none"});
  EXPECT_EQ(fresh.exit_code, 0) << fresh.err;
  EXPECT_THAT(fresh.err, HasSubstr("moved scratch/small/step-00000006 to "
                                   "scratch/small/quarantine/step-00000006.abandoned ("));
  EXPECT_THAT(names_in("scratch/small"),
              ElementsAre("quarantine", "step-00000002", "step-00000004"));
  const ProgramResult next = train("outside", {where, "run.steps=5"});
  EXPECT_THAT(next.err, HasSubstr("resume      4"));
  const ProgramResult prune =
      workshop().tessera({"checkpoint", "prune-old", "scratch/small", "--quarantine"});
  EXPECT_EQ(prune.exit_code, 0) << prune.err;
  EXPECT_THAT(names_in("scratch/small/quarantine"), ElementsAre());
}

TEST(Line, GoingBackToAMilestoneGoesOnFromThere) {
  const Words keep = {"run.steps=12", "checkpoint.every=1", "checkpoint.keep={last: 2, every: 4}"};
  const auto with = [&](Words more) {
    more.insert(more.end(), keep.begin(), keep.end());
    return train("milestone", more);
  };
  ASSERT_EQ(with({}).exit_code, 0);
  const ProgramResult back =
      with({"--resume", "milestone/checkpoints/step-00000004", "--steps", "7"});
  ASSERT_EQ(back.exit_code, 0) << back.err;
  EXPECT_THAT(names_in("milestone/checkpoints"),
              ElementsAre("quarantine", "step-00000004", "step-00000006", "step-00000007"));
  EXPECT_THAT(with({"--steps", "8"}).err, HasSubstr("resume      7"));
}

TEST(Line, FallingBackOverDamageMakesProgressWithASingleCheckpoint) {
  const auto go_on = [](const std::string& steps) {
    return train("fallback", {"run.steps=20", "checkpoint.every=1", "checkpoint.keep.last=1",
                              "--steps", steps});
  };
  ASSERT_EQ(train("fallback", {"run.steps=20", "checkpoint.every=2", "--steps", "4"}).exit_code, 0);
  fs::resize_file(workshop() / "fallback/checkpoints/step-00000004/manifest.json", 100);
  ASSERT_EQ(go_on("3").exit_code, 0);
  // The checkpoint that a job went on from is kept until that job ends, beside the last one.
  EXPECT_THAT(names_in("fallback/checkpoints"),
              ElementsAre("quarantine", "step-00000002", "step-00000003"));
  EXPECT_THAT(go_on("4").err, HasSubstr("resume      3"));
  EXPECT_THAT(names_in("fallback/checkpoints"),
              ElementsAre("quarantine", "step-00000003", "step-00000004"));
}

TEST(Line, CheckpointsThatHaveVanishedAreNoFreshStart) {
  ASSERT_EQ(train("vanished", {"run.steps=2", "metrics.jsonl=false"}).exit_code, 0);
  fs::remove_all(workshop() / "vanished/checkpoints");
  const ProgramResult again = train("vanished", {"run.steps=3"});
  EXPECT_EQ(again.exit_code, 4) << again.err;
  EXPECT_THAT(again.err, HasSubstr("has saved step 2 before"));
  EXPECT_FALSE(fs::exists(workshop() / "vanished/checkpoints"));
  EXPECT_EQ(train("vanished", {"run.steps=3", "--resume", "none"}).exit_code, 0);
}

TEST(Line, ASecondJobIsRefusedAndTheFirstIsNotDisturbed) {
  Program first(Words{TESSERA_BINARY, "train", "recipe.yaml", "--run-dir", "held",
                      "run.steps=100000", "checkpoint.every=5"},
                workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(first, "held", 6)) << first.err();
  for (const char* resume : {"auto", "none"}) {
    const ProgramResult second = train("held", {"--resume", resume});
    EXPECT_EQ(second.exit_code, 9) << second.err;
    EXPECT_THAT(second.err, HasSubstr("held is held by process " + std::to_string(first.pid())));
  }
  const ProgramResult prune =
      workshop().tessera({"checkpoint", "prune-old", "held", "--keep", "last:1"});
  EXPECT_EQ(prune.exit_code, 9) << prune.err;
  first.signal(SIGUSR1);
  EXPECT_EQ(first.wait(300).exit_code, 75);
  EXPECT_EQ(workshop().metrics("held", "start").size(), 1u);
}

TEST(Line, AJobThatHasBeenTakenOverEndsAndHarmsNothing) {
  Program first(Words{TESSERA_BINARY, "train", "recipe.yaml", "--run-dir", "taken",
                      "run.steps=100000", "checkpoint.every=5"},
                workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(first, "taken", 6)) << first.err();
  first.signal(SIGSTOP);
  ASSERT_EQ(train("taken", {"--take-over", "run.steps=100000", "--steps", "12"}).exit_code, 0);
  first.signal(SIGCONT);
  const ProgramResult woken = first.wait(300);
  EXPECT_EQ(woken.exit_code, 9) << woken.err;
  EXPECT_THAT(woken.err, HasSubstr("has been taken over"));
  EXPECT_THAT(train("taken", {"run.steps=100000", "--steps", "13"}).err,
              HasSubstr("resume     12"));
}

TEST(Line, ARunOfNothingButNaNEndsWith6AndCommitsNothing) {
  const ProgramResult run = train("nan", {"optimizer.lr=1e38", "lr_schedule.warmup_steps=0",
                                          "run.steps=4", "checkpoint.every=2"});
  EXPECT_EQ(run.exit_code, 6) << run.err;
  EXPECT_THAT(names_in("nan/checkpoints"), ElementsAre());
}

}  // namespace
}  // namespace tessera
