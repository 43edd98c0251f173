// SPDX-License-Identifier: Apache-2.0
// Everything that can be refused is refused before anything is touched; what could not be written
// or had no memory says so by its exit code.
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

// On one rank, without mpirun.
ProgramResult alone(const std::string& run, const Words& more) {
  Words words = {"train", "recipe.yaml", "--run-dir", run, "-q"};
  words.insert(words.end(), more.begin(), more.end());
  return workshop().tessera(words);
}

// Reads every file below a directory.
// Every file of a run but its lease, which tells who looked last.
std::map<std::string, std::string> contents(const std::string& directory) {
  std::map<std::string, std::string> files;
  if (!fs::exists(workshop() / directory)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(workshop() / directory))
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with("LEASE."))
      files[entry.path().string()] = read_text(entry.path().string());
  return files;
}

TEST(Refusal, OfDataAndCheckpointsLeavesTheEarlierRunAsItWas) {
  ASSERT_EQ(alone("run", {"run.steps=2"}).exit_code, 0);
  const auto before = contents("run");
  ASSERT_EQ(workshop()
                .tessera({"data", "prepare", "--input", "recipe.yaml", "-o", "short", "--tokenizer",
                          "bytes", "--split", "1,0"})
                .exit_code,
            0);
  const std::vector<std::pair<Words, int>> refused = {
      {{"--resume", "none", "data.train=short/validation", "data.validation=null"}, 3},
      {{"--resume", "none", "data.validation=short/validation"}, 3},
      {{"--resume", "none", "--init-from", "run", "model.intermediate_size=64"}, 2},
      {{"model.num_hidden_layers=1"}, 2},
      {{"--steps", "0"}, 2},
      {{"--steps", "-4"}, 2},
      {{"--check", "optimizer.lr=0.5"}, 0}};
  for (const auto& [words, code] : refused) {
    const ProgramResult result = alone("run", words);
    EXPECT_EQ(result.exit_code, code) << words.back() << "\n" << result.err;
    EXPECT_EQ(contents("run"), before) << words.back();
    EXPECT_FALSE(fs::exists(workshop() / "run.1")) << words.back();
  }
  EXPECT_EQ(alone("absent", {"--check"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(workshop() / "absent")) << "--check writes nothing";
}

TEST(Refusal, OfAFreshStartMovesNothingButARun) {
  ASSERT_EQ(alone("second", {"run.steps=2"}).exit_code, 0);
  // The weights that a second stage begins with are those of the run that makes room for it; the
  // slash is what a shell's completion leaves.
  const ProgramResult stage =
      alone("second/", {"run.steps=2", "--resume", "none", "--init-from", "second"});
  EXPECT_EQ(stage.exit_code, 0) << stage.err;
  EXPECT_TRUE(fs::exists(workshop() / "second.1/checkpoints/step-00000002"));
  EXPECT_TRUE(fs::exists(workshop() / "second/checkpoints/step-00000002"));

  fs::create_directories(workshop() / "project");
  fs::copy(workshop() / "corpus", workshop() / "project/data", fs::copy_options::recursive);
  const Words inside = {"run.steps=2", "--resume", "none", "data.train=project/data/train"};
  const ProgramResult first = alone("project", inside);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_FALSE(fs::exists(workshop() / "project.1")) << "it was no run";
  const ProgramResult again = alone("project", inside);
  EXPECT_EQ(again.exit_code, 2) << again.err;
  EXPECT_THAT(again.err, HasSubstr("data.train project/data/train in it"));
  EXPECT_TRUE(fs::exists(workshop() / "project/data/train.bin"));
}

TEST(Output, ThatCannotBeWrittenExitsWith8) {
  const auto into_full = [](const std::string& words) {
    const std::string line = "exec \"$0\" " + words + " > /dev/full";
    return run_program({"sh", "-c", line, TESSERA_BINARY}, workshop().options(), 600);
  };
  for (const char* words : {"version", "--help", "plan recipe.yaml", "recipe show recipe.yaml",
                            "recipe keys", "data inspect corpus/train --json"}) {
    const ProgramResult result = into_full(words);
    EXPECT_EQ(result.exit_code, 8) << words;
    EXPECT_THAT(result.err, HasSubstr("standard output could not be written")) << words;
  }
  EXPECT_EQ(into_full("plan nowhere.yaml").exit_code, 2) << "the first failure counts";
}

TEST(Memory, ThatRunsOutExitsWith5) {
  for (const char* words :
       {"recipe check recipe.yaml", "bench gemm -B 1M -T 2K --rounds 1", "bench io --mib 1M"}) {
    const std::string line = "exec \"$0\" " + std::string(words);
    const ProgramResult result =
        run_program({"sh", "-c", line, TESSERA_BINARY}, workshop().options(), 600);
    EXPECT_EQ(result.exit_code, std::string(words).starts_with("bench") ? 5 : 0) << result.err;
    EXPECT_THAT(result.err, Not(HasSubstr("internal error")));
  }
  const ProgramResult huge =
      workshop().tessera({"bench", "gemm", "-B", "99999999", "-T", "99999999"});
  EXPECT_EQ(huge.exit_code, 5) << huge.err;
  const ProgramResult beyond = workshop().tessera({"bench", "step", "-B", "99999999999"});
  EXPECT_EQ(beyond.exit_code, 2) << beyond.err;
  EXPECT_THAT(beyond.err, HasSubstr("must be at most 2147483647"));
}

TEST(Verification, OfNoLayoutExitsWith2) {
  for (const char* layouts : {";", " ", ""}) {
    const ProgramResult result =
        workshop().tessera({"verify", "recipe.yaml", "--steps", "1", "--layouts", layouts});
    EXPECT_EQ(result.exit_code, 2) << "'" << layouts << "' " << result.err;
    EXPECT_THAT(result.err, HasSubstr("names no layout")) << layouts;
  }
}

}  // namespace
}  // namespace tessera
