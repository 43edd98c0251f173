// SPDX-License-Identifier: Apache-2.0
// `tessera launch` and `tessera verify -n`: the program starts its own ranks.
#include <csignal>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "no '" << part << "' in\n" << text;
}

TEST(Launch, TrainsOnTwoRanksWithTheBitsOfMpirun) {
  const ProgramResult launched = workshop().tessera(
      {"launch", "recipe.yaml", "run.steps=6", "-n", "2", "--run-dir", "launched"});
  ASSERT_EQ(launched.exit_code, 0) << launched.err;
  EXPECT_TRUE(contains(launched.err, "launch   local: ")) << "the command line comes first";
  EXPECT_LT(launched.err.find("mpirun -n 2 "), launched.err.find("layout   2 ranks = data 2"));
  EXPECT_TRUE(contains(launched.err, "done  6/6"));
  ASSERT_EQ(workshop().train(2, "by-hand", {"run.steps=6"}).exit_code, 0);
  EXPECT_EQ(workshop().difference("launched", "by-hand"), "");
}

TEST(Launch, PassesTheFlagsOfTrainOn) {
  const ProgramResult stopped = workshop().tessera(
      {"launch", "recipe.yaml", "-n", "1", "--run-dir", "flags", "--steps", "3", "-q"});
  ASSERT_EQ(stopped.exit_code, 0) << stopped.err;
  EXPECT_EQ(workshop().last_step("flags"), 3);
  EXPECT_EQ(stopped.err, "") << "-q: warnings only";
  const ProgramResult afresh = workshop().tessera({"launch", "recipe.yaml", "-n", "1", "--run-dir",
                                                   "flags", "--steps", "1", "--resume", "none"});
  EXPECT_TRUE(contains(afresh.err, "the earlier run is now flags.1"));
}

TEST(Launch, ADryRunPrintsALineForTheShellAndStartsNothing) {
  const ProgramResult dry = workshop().tessera(
      {"launch", "recipe.yaml", "parallel.pipeline=2", "--run-dir", "dry", "--dry-run"});
  ASSERT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_TRUE(contains(dry.out, "mpirun -n 2 "));
  EXPECT_TRUE(contains(dry.out, "train recipe.yaml parallel.pipeline=2 --run-dir dry\n"));
  EXPECT_TRUE(contains(dry.err, "2 ranks for the recipe's layout"));
  EXPECT_FALSE(std::filesystem::exists(workshop() / "dry"));
}

TEST(Launch, ReturnsTheExitCodeOfTrain) {
  const auto launch = [](Words words) {
    words.insert(words.begin(), {"launch", "recipe.yaml", "--run-dir", "failed"});
    return workshop().tessera(words);
  };
  EXPECT_EQ(launch({"-n", "2", "run.stepz=3"}).exit_code, 2);
  EXPECT_EQ(launch({"-n", "0"}).exit_code, 2);
  EXPECT_EQ(launch({"-n", "2", "data.train=nowhere"}).exit_code, 3);
  EXPECT_EQ(launch({"-n", "2", "--resume", "nowhere"}).exit_code, 4);
  const ProgramResult few = launch({"-n", "1", "parallel.tensor=2"});
  EXPECT_EQ(few.exit_code, 5);
  EXPECT_TRUE(contains(few.err, "ranks"));
  EXPECT_EQ(
      launch({"-n", "2", "optimizer.lr=1e30", "run.steps=20", "on_failure.max_skips=1"}).exit_code,
      6);
}

TEST(Launch, ARequestToStopSavesAndExitsWith75) {
  Program job({TESSERA_BINARY, "launch", "recipe.yaml", "-n", "2", "--run-dir", "preempted",
               "run.steps=100000", "checkpoint.every=0"},
              workshop().options());
  ASSERT_TRUE(workshop().wait_for_step(job, "preempted", 3)) << job.err();
  job.signal(SIGTERM);
  const ProgramResult preempted = job.wait(300);
  EXPECT_EQ(preempted.exit_code, 75) << preempted.err;
  EXPECT_TRUE(contains(preempted.err, "preempted at step"));
}

TEST(Verify, StartsItsOwnRanks) {
  const ProgramResult proof = workshop().tessera({"verify", "recipe.yaml", "-n", "2", "--layouts",
                                                  "data=2; tensor=2", "--steps", "1", "--json"});
  ASSERT_EQ(proof.exit_code, 0) << proof.err;
  EXPECT_EQ(nlohmann::json::parse(proof.out)["layouts"].size(), 2u);
  const ProgramResult few =
      workshop().tessera({"verify", "recipe.yaml", "-n", "1", "--layouts", "tensor=2"});
  EXPECT_EQ(few.exit_code, 5) << few.err;
  EXPECT_TRUE(contains(few.err, "-n 2"));
}

}  // namespace
}  // namespace tessera
