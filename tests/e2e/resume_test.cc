// SPDX-License-Identifier: Apache-2.0
// A run that was interrupted ends as if it had not been: same losses, same weights, to the bit.
#include "tests/support/workshop.h"

namespace tessera {
namespace {

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

// A run so long that it is always interrupted before its end; its schedule is the same for all.
const Words kLong = {"run.steps=100000", "checkpoint.every=5", "run.log_every=1000"};

Words longer(Words more) {
  more.insert(more.end(), kLong.begin(), kLong.end());
  return more;
}

// Resumes `run` for ten more steps and compares it with a run that was never interrupted.
void expect_continues(const std::string& run, int64_t resumed_from, Words more = {}) {
  const std::string end = std::to_string(resumed_from + 10);
  more.insert(more.end(), {"--steps", end});
  const ProgramResult rest = workshop().train(2, run, longer(more));
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  EXPECT_EQ(workshop().metrics(run, "start").back()["step"], resumed_from) << rest.err;
  const std::string whole = run + "-uninterrupted";
  const ProgramResult reference = workshop().train(2, whole, longer(more));
  ASSERT_EQ(reference.exit_code, 0) << reference.err;
  EXPECT_EQ(workshop().difference(run, whole), "");
  // What the killed job trained beyond its last checkpoint was trained again, to the same bits.
  auto losses = workshop().losses(run);
  for (const auto& [step, loss] : workshop().losses(whole))
    EXPECT_EQ(losses[step], loss) << "step " << step;
  EXPECT_EQ(workshop().losses(whole).size(), static_cast<size_t>(resumed_from + 10));
  EXPECT_EQ(workshop().metrics(run, "train").size(), static_cast<size_t>(resumed_from + 10))
      << "each step stands once in metrics.jsonl";
}

int64_t newest_checkpoint(const std::string& run) {
  const ProgramResult list = workshop().tessera({"checkpoint", "list", run, "--json"});
  int64_t newest = 0;
  for (const auto& entry : nlohmann::json::parse(list.out))
    if (entry["status"] == "complete") newest = std::max(newest, entry["step"].get<int64_t>());
  return newest;
}

TEST(Resume, TenStepsAndTenMoreAreTwenty) {
  const ProgramResult first = workshop().train(2, "halves", {"--steps", "10"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_EQ(workshop().last_step("halves"), 10);
  const ProgramResult second = workshop().train(2, "halves");
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_NE(second.err.find("from halves/checkpoints/step-00000010"), std::string::npos)
      << second.err;
  ASSERT_EQ(workshop().train(2, "whole").exit_code, 0);
  EXPECT_EQ(workshop().difference("halves", "whole"), "");
  EXPECT_EQ(workshop().difference_of_losses("halves", "whole"), "");
}

TEST(Resume, ARunThatIsDoneSaysSoAndStays) {
  ASSERT_EQ(workshop().train(2, "done", {"run.steps=3"}).exit_code, 0);
  const ProgramResult again = workshop().train(2, "done", {"run.steps=3"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_NE(again.err.find("step 3 of 3 is done already"), std::string::npos) << again.err;
  EXPECT_EQ(workshop().losses("done").size(), 3u);
}

TEST(Resume, AKilledRankEndsTheJobWithinTenSecondsAndNothingIsLost) {
  Program job(Workshop::train_words(2, "killed", kLong), workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "killed", 7)) << job.err();
  const std::vector<pid_t> ranks = job.children();
  ASSERT_EQ(ranks.size(), 2u);
  ::kill(ranks.back(), SIGKILL);
  const ProgramResult killed = job.wait(300);
  EXPECT_FALSE(killed.timed_out);
  EXPECT_NE(killed.exit_code, 0);
  const int64_t saved = newest_checkpoint("killed");
  ASSERT_GE(saved, 5);
  expect_continues("killed", saved);
}

// Steps of 4, 8 and 12 sequences for 2000 tokens each, then of 16: sixteen, eight and five steps.
TEST(Resume, AKilledRampGrowsOnAsIfNothingHadBeen) {
  const Words ramp = {"batch.global=16", "batch.ramp={from: 4, increment: 4, tokens: 6K}"};
  Program job(Workshop::train_words(2, "ramp", longer(ramp)), workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "ramp", 12)) << job.err();
  ::kill(job.children().back(), SIGKILL);
  EXPECT_NE(job.wait(300).exit_code, 0);
  const int64_t saved = newest_checkpoint("ramp");
  ASSERT_GE(saved, 10);
  expect_continues("ramp", saved, ramp);
  std::map<int64_t, int64_t> sequences;  // of each step
  for (const auto& line : workshop().metrics("ramp-uninterrupted", "train"))
    sequences[line["step"]] = line["sequences"];
  EXPECT_EQ(sequences[16], 4);
  EXPECT_EQ(sequences[17], 8);
}

TEST(Resume, AKilledFirstRankIsNoWorse) {
  Program job(Workshop::train_words(2, "beheaded", kLong), workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "beheaded", 7)) << job.err();
  const std::vector<pid_t> ranks = job.children();
  ASSERT_EQ(ranks.size(), 2u);
  ::kill(ranks.front(), SIGKILL);
  const ProgramResult killed = job.wait(300);
  EXPECT_FALSE(killed.timed_out);
  EXPECT_NE(killed.exit_code, 0);
  expect_continues("beheaded", newest_checkpoint("beheaded"));
}

TEST(Resume, Usr1SavesAndExitsWith75) {
  Program job(Workshop::train_words(2, "preempted", kLong), workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "preempted", 3)) << job.err();
  job.signal(SIGUSR1);
  const ProgramResult preempted = job.wait(300);
  EXPECT_EQ(preempted.exit_code, 75) << preempted.err;
  EXPECT_NE(preempted.err.find("preempted at step"), std::string::npos) << preempted.err;
  const int64_t last = workshop().last_step("preempted");
  EXPECT_EQ(newest_checkpoint("preempted"), last);
  expect_continues("preempted", last);
}

TEST(Resume, AStoppedRankEndsTheJobWith7AndTheWaitIsNamed) {
  Program job(Workshop::train_words(2, "stopped", longer({"on_failure.hang_timeout=3s"})),
              workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "stopped", 7)) << job.err();
  const std::vector<pid_t> ranks = job.children();
  ASSERT_EQ(ranks.size(), 2u);
  ::kill(ranks.back(), SIGSTOP);
  const ProgramResult stopped = job.wait(300);
  EXPECT_FALSE(stopped.timed_out);
  EXPECT_EQ(stopped.exit_code, 7) << stopped.err;
  EXPECT_NE(stopped.err.find("s for rank 1 (on_failure.hang_timeout)"), std::string::npos)
      << stopped.err;
  expect_continues("stopped", newest_checkpoint("stopped"));
}

TEST(Resume, TermSavesBeforeMpirunKills) {
  Program job(Workshop::train_words(2, "terminated", kLong), workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "terminated", 3)) << job.err();
  job.signal(SIGTERM);
  const ProgramResult terminated = job.wait(300);
  EXPECT_NE(terminated.exit_code, 0);
  EXPECT_EQ(newest_checkpoint("terminated"), workshop().last_step("terminated")) << terminated.err;
  expect_continues("terminated", newest_checkpoint("terminated"));
}

TEST(Resume, AnotherInstructionSetPathIsWarnedOf) {
  if (const std::string reason = lacks_path("v3"); !reason.empty()) GTEST_SKIP() << reason;
  const auto resumed_on = [](const std::string& path) {
    return workshop().train(2, "paths", {"--check"}, {{"TESSERA_CPU_PATH", path}});
  };
  const Environment v3 = {{"TESSERA_CPU_PATH", "v3"}};
  ASSERT_EQ(workshop().train(2, "paths", {"--steps", "2"}, v3).exit_code, 0);
  const ProgramResult other = resumed_on("v2"), same = resumed_on("v3");
  EXPECT_NE(other.err.find("W012 saved under another instruction-set path than x86-64-v2"),
            std::string::npos)
      << other.err;
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_EQ(same.err.find("W012"), std::string::npos) << same.err;
}

TEST(Resume, AnotherNumberOfRanksGoesOnWithTheSameTokens) {
  ASSERT_EQ(workshop().train(2, "grown", {"--steps", "10"}).exit_code, 0);
  const ProgramResult rest = workshop().train(4, "grown", {"--steps", "15"});
  ASSERT_EQ(rest.exit_code, 0) << rest.err;
  const ProgramResult alone = workshop().train(1, "grown");
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  ASSERT_EQ(workshop().train(2, "steady").exit_code, 0);
  const auto grown = workshop().metrics("grown", "train"),
             steady = workshop().metrics("steady", "train");
  ASSERT_EQ(grown.size(), 20u);
  for (size_t i = 0; i < grown.size(); ++i) {
    EXPECT_EQ(grown[i]["tokens"], steady[i]["tokens"]);
    const double loss = steady[i]["loss"];
    EXPECT_NEAR(grown[i]["loss"], loss, 1e-4 * loss) << "step " << i + 1;
  }
}

TEST(Resume, ResumeNoneKeepsTheEarlierRunUnderAnotherName) {
  ASSERT_EQ(workshop().train(1, "fresh", {"run.steps=2"}).exit_code, 0);
  const ProgramResult again = workshop().train(1, "fresh", {"run.steps=2", "--resume", "none"});
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(workshop().metrics("fresh", "start").at(0)["how"], "fresh");
  EXPECT_EQ(workshop().difference("fresh", "fresh.1"), "");
}

TEST(Resume, InitFromTakesTheWeightsButNotTheOptimizer) {
  ASSERT_EQ(workshop().train(1, "teacher", {"run.steps=10"}).exit_code, 0);
  const ProgramResult pupil =
      workshop().train(1, "pupil", {"run.steps=2", "--init-from", "teacher"});
  ASSERT_EQ(pupil.exit_code, 0) << pupil.err;
  const auto first = workshop().losses("teacher"), second = workshop().losses("pupil");
  EXPECT_LT(second.at(1), 0.9 * first.at(1));
  EXPECT_EQ(workshop().metrics("pupil", "train").at(0)["updates"], 1);
}

}  // namespace
}  // namespace tessera
