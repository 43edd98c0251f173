// SPDX-License-Identifier: Apache-2.0
// Training as a person does it, what it leaves behind, and the verbs that read that.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "tests/support/trace_lanes.h"
#include "tests/support/workshop.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

// Run "two": 2 ranks, 20 steps; trained once for all tests of this file.
const ProgramResult& run_on_two() {
  static const ProgramResult result = workshop().train(2, "two");
  return result;
}

TEST(Train, TwoRanksEndWell) {
  const ProgramResult& run = run_on_two();
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "") << "the log goes to standard error";
  for (const char* start : {"layout   2 ranks = data 2", "model    llama", "step     20/20",
                            "ckpt     20", "done  20/20"})
    EXPECT_NE(run.err.find(start), std::string::npos) << start << " in\n" << run.err;
}

TEST(Train, TracesTheStepsAskedForOnAllRanks) {
  const ProgramResult run =
      workshop().train(2, "traced", {"profile.steps=2-3", "parallel.pipeline=2", "run.steps=4"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  std::ifstream file(workshop() / "traced/trace/trace.json");
  const Json trace = Json::parse(file);
  std::set<std::string> seen;  // "rank name"
  for (const Json& event : trace["traceEvents"])
    seen.insert(event["pid"].dump() + " " + event["name"].get<std::string>());
  for (const char* rank : {"0 ", "1 "})
    for (const char* name : {"step 2", "step 3", "F0.0", "F0.1", "data", "optimizer and weights"})
      EXPECT_TRUE(seen.contains(std::string(rank) + name)) << rank << name;
  EXPECT_TRUE(seen.contains("0 sF0.0"));
  EXPECT_FALSE(seen.contains("0 step 1") || seen.contains("0 step 4"));
  for (const auto& [rank, lanes] : read_trace(workshop() / "traced/trace/trace.json")) {
    EXPECT_EQ(lanes.size(), 1u) << "no GPU, one thread";
    expect_nested(lanes.at("host thread 0"));
  }
}

TEST(Train, MetricsHaveTheKeysThatPlotsRelyOn) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  const auto lines = workshop().metrics("two", "train");
  ASSERT_EQ(lines.size(), 20u);
  int64_t tokens = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    for (const char* key :
         {"loss", "grad_norm", "lr", "loss_scale", "tokens_per_second", "step_seconds"})
      EXPECT_TRUE(lines[i].at(key).is_number()) << key;
    EXPECT_EQ(lines[i]["step"], i + 1);
    EXPECT_EQ(lines[i]["updates"], i + 1);
    EXPECT_EQ(lines[i]["applied"], true);
    EXPECT_GT(lines[i]["tokens"], tokens);
    tokens = lines[i]["tokens"];
  }
  EXPECT_LT(lines.back()["loss"], 0.8 * lines.front()["loss"].get<double>());
  for (const Json& line : workshop().metrics("two", "eval"))
    for (const char* key : {"step", "loss", "bits_per_byte", "tokens"})
      EXPECT_TRUE(line.at(key).is_number()) << key;
  EXPECT_EQ(workshop().metrics("two", "eval").size(), 1u);
  const auto saves = workshop().metrics("two", "checkpoint");
  ASSERT_EQ(saves.size(), 2u);
  for (const Json& line : saves)
    for (const char* key : {"step", "bytes", "seconds", "stall_seconds"})
      EXPECT_TRUE(line.at(key).is_number()) << key;
}

TEST(Train, TheRunDirectoryHoldsWhatIsPromised) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  for (const char* file :
       {"recipe.resolved.yaml", "metrics.jsonl", "logs/rank-0000.log", "logs/rank-0001.log",
        "checkpoints/step-00000010/COMMIT", "checkpoints/step-00000020/COMMIT",
        "checkpoints/step-00000020/manifest.json", "checkpoints/step-00000020/rank-0000.h5",
        "checkpoints/step-00000020/rank-0001.h5"})
    EXPECT_TRUE(fs::exists(workshop() / "two/" + file)) << file;
  const auto events = [](const fs::directory_entry& entry) {
    return entry.path().filename().string().rfind("events.out.tfevents.", 0) == 0;
  };
  EXPECT_EQ(std::count_if(fs::directory_iterator(workshop() / "two"), {}, events), 1);
  EXPECT_EQ(workshop().tessera({"recipe", "check", "two/recipe.resolved.yaml"}).exit_code, 0);
}

TEST(Train, EvalAgreesWithTheRunsOwnEvaluation) {
  for (const std::string across : {"true", "false"}) {
    const std::string run = "across-" + across;
    const ProgramResult all = workshop().train(
        2, run, {"run.eval_batches=all", "data.attend_across_documents=" + across});
    ASSERT_EQ(all.exit_code, 0) << all.err;
    const ProgramResult eval = workshop().tessera({"eval", run, "--json"});
    ASSERT_EQ(eval.exit_code, 0) << eval.err;
    const Json told = Json::parse(eval.out), trained = workshop().metrics(run, "eval").at(0);
    EXPECT_EQ(told["tokens"], trained["tokens"]);
    for (const char* key : {"loss", "bits_per_byte"})
      EXPECT_NEAR(told[key], trained[key], 1e-6 * trained[key].get<double>()) << key;
    EXPECT_GT(told["xz_bits_per_byte"], 0);
  }
}

TEST(Train, EvalOfTokensGivesALossAndLogits) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  workshop().write("tokens.json", "[[1, 2, 3, 4], [5, 6]]");
  const ProgramResult eval = workshop().tessera(
      {"eval", "two", "--tokens", "tokens.json", "--logits", "logits.safetensors", "--json"});
  ASSERT_EQ(eval.exit_code, 0) << eval.err;
  const Json told = Json::parse(eval.out);
  EXPECT_EQ(told["tokens"], 4);
  EXPECT_EQ(told["losses"].size(), 2u);
  EXPECT_GT(fs::file_size(workshop() / "logits.safetensors"), 6u * 260 * 4);
}

TEST(Train, GenerateContinuesThePromptTheSameWithTheSameSeed) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  const Words words = {"generate", "two", "-p", "kalo", "--max-tokens", "20", "--seed", "7"};
  const ProgramResult one = workshop().tessera(words), two = workshop().tessera(words);
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_EQ(one.out.substr(0, 4), "kalo");
  EXPECT_GT(one.out.size(), 10u);
  EXPECT_EQ(one.out, two.out);
}

TEST(Train, TheCheckpointVerbsSpeakJson) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  const Json list = Json::parse(workshop().tessera({"checkpoint", "list", "two", "--json"}).out);
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0]["step"], 10);
  EXPECT_EQ(list[1]["step"], 20);
  for (const Json& entry : list) EXPECT_EQ(entry["status"], "complete");

  const Json inspected =
      Json::parse(workshop().tessera({"checkpoint", "inspect", "two", "--json"}).out);
  EXPECT_EQ(inspected["step"], 20);
  EXPECT_EQ(inspected["scalars"]["step"], "20");
  EXPECT_GT(inspected["tensors"].size(), 20u);

  const ProgramResult verify = workshop().tessera({"checkpoint", "verify", "two", "--json"});
  EXPECT_EQ(verify.exit_code, 0) << verify.err;
  const Json verified = Json::parse(verify.out);
  EXPECT_EQ(verified["sound"], true);
  EXPECT_EQ(verified["damage"].size(), 0u);

  const Json same =
      Json::parse(workshop().tessera({"checkpoint", "diff", "two", "two", "--json"}).out);
  EXPECT_EQ(same["equal"], true);
  const ProgramResult differs =
      workshop().tessera({"checkpoint", "diff", "two/checkpoints/step-00000010",
                          "two/checkpoints/step-00000020", "--json"});
  EXPECT_EQ(differs.exit_code, 6);
  EXPECT_EQ(Json::parse(differs.out)["equal"], false);
}

TEST(Train, OneTwoAndFourRanksSeeTheSameTokensAndLosses) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  for (const int ranks : {1, 4}) {
    const std::string run = "ranks" + std::to_string(ranks);
    const ProgramResult result = workshop().train(ranks, run);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto ours = workshop().metrics(run, "train"), two = workshop().metrics("two", "train");
    ASSERT_EQ(ours.size(), two.size());
    for (size_t i = 0; i < ours.size(); ++i) {
      EXPECT_EQ(ours[i]["tokens"], two[i]["tokens"]);
      const double loss = ours[i]["loss"], other = two[i]["loss"];
      EXPECT_NEAR(loss, other, 1e-4 * other) << ranks << " ranks, step " << i + 1;
    }
  }
}

TEST(Train, AnyNumberOfThreadsGivesTheSameBits) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  for (const char* threads : {"1", "2", "3"}) {
    const std::string run = std::string("threads") + threads;
    const ProgramResult result = workshop().train(2, run, {}, {{"OMP_NUM_THREADS", threads}});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(workshop().difference("two", run), "") << threads << " threads";
    EXPECT_EQ(workshop().difference_of_losses("two", run), "") << threads << " threads";
  }
}

TEST(Train, SharedMemoryAndMpiGiveTheSameBits) {
  for (const int ranks : {2, 4}) {
    const std::string memory = "memory " + std::to_string(ranks),
                      mpi = "mpi " + std::to_string(ranks);
    const ProgramResult over_memory = workshop().train(ranks, memory, {"run.steps=6"});
    const ProgramResult over_mpi =
        workshop().train(ranks, mpi, {"run.steps=6"}, {{"TESSERA_TRANSPORT", "mpi"}});
    ASSERT_EQ(over_memory.exit_code, 0) << over_memory.err;
    ASSERT_EQ(over_mpi.exit_code, 0) << over_mpi.err;
    EXPECT_NE(over_memory.err.find("comm shared memory"), std::string::npos) << over_memory.err;
    EXPECT_NE(over_mpi.err.find("comm mpi"), std::string::npos) << over_mpi.err;
    EXPECT_EQ(workshop().difference_of_losses(memory, mpi), "");
  }
}

TEST(Train, ThePathsWithFusedMultiplyAddGiveTheSameBits) {
  if (const std::string reason = lacks_path("v4"); !reason.empty()) GTEST_SKIP() << reason;
  for (const char* path : {"v3", "v4"}) {
    const ProgramResult result = workshop().train(2, path, {}, {{"TESSERA_CPU_PATH", path}});
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.err.find("x86-64-" + std::string(path) + ","), std::string::npos);
  }
  EXPECT_EQ(workshop().difference("v3", "v4"), "");
  EXPECT_EQ(workshop().difference_of_losses("v3", "v4"), "");
}

TEST(Train, AnotherSeedGivesOtherWeights) {
  ASSERT_EQ(run_on_two().exit_code, 0);
  ASSERT_EQ(workshop().train(2, "seed", {"run.seed=43"}).exit_code, 0);
  EXPECT_NE(workshop().difference("two", "seed"), "");
  EXPECT_NE(workshop().difference_of_losses("two", "seed"), "");
}

TEST(Train, CheckLooksAtEverythingAndTrainsNothing) {
  const ProgramResult result = workshop().train(2, "checked", {"--check"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("everything is in order"), std::string::npos);
  EXPECT_EQ(workshop().metrics("checked").size(), 0u);
  EXPECT_FALSE(fs::exists(workshop() / "checked/checkpoints"));
}

TEST(Train, WithoutALauncherItIsAWorldOfOne) {
  const ProgramResult result =
      workshop().tessera({"train", "recipe.yaml", "--run-dir", "alone", "run.steps=2"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("layout   1 rank = "), std::string::npos) << result.err;
}

}  // namespace
}  // namespace tessera
