// SPDX-License-Identifier: Apache-2.0
// What goes wrong is said once, with the exit code that scripts rely on, and costs nothing.
#include <cstring>
#include <filesystem>

#include <sys/mount.h>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

int times(const std::string& what, const std::string& text) {
  int count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

void expect_refused(const Words& words, int exit_code, const std::string& message) {
  fs::remove_all(workshop() / "refused");
  const ProgramResult run = workshop().train(2, "refused", words);
  EXPECT_EQ(run.exit_code, exit_code) << run.err;
  EXPECT_EQ(times(message, run.err), 1) << "wanted once: " << message << "\n" << run.err;
  EXPECT_FALSE(fs::exists(workshop() / "refused")) << "a refused run leaves nothing";
}

// Token files of their own, to spoil.
std::string copy_of_corpus(const std::string& name) {
  fs::copy(workshop() / "corpus", workshop() / name, fs::copy_options::recursive);
  return name;
}

// Ten bytes in the middle of a file become others.
void damage(const std::string& path) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  const auto middle = static_cast<std::streamoff>(fs::file_size(path) / 2);
  char bytes[10];
  file.seekg(middle).read(bytes, sizeof bytes);
  for (char& byte : bytes) byte = static_cast<char>(~byte);
  file.seekp(middle).write(bytes, sizeof bytes);
  ASSERT_TRUE(file.good()) << path;
}

TEST(BadInput, AnUnknownKeyIsRefusedBeforeAnythingIsWritten) {
  expect_refused({"optimizer.learning_rat=1"}, 2, "unknown key `learning_rat` in `optimizer`");
}

TEST(BadInput, AMissingRecipeIsNamed) {
  const ProgramResult run = workshop().tessera({"train", "nowhere.yaml"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(times("cannot read the recipe nowhere.yaml", run.err), 1) << run.err;
}

TEST(BadInput, ALayoutThatCannotBeExitsWith5) {
  expect_refused({"batch.global=6"}, 5, "nearest legal: 4 or 8");
  expect_refused({"parallel.data=4"}, 5, "4 ranks were asked for, the job has 2");
  expect_refused({"parallel.tensor=3"}, 5,
                 "parallel.tensor: 3 does not divide num_attention_heads 4");
}

TEST(BadInput, AMissingTokenFileExitsWith3) {
  for (const char* gone : {"/train.bin", "/train.idx"}) {
    const std::string corpus = copy_of_corpus("missing" + std::string(gone).substr(7));
    fs::remove(workshop() / corpus + gone);
    expect_refused({"data.train=" + corpus + "/train"}, 3, corpus + gone);
  }
}

TEST(BadInput, ATruncatedTokenFileExitsWith3) {
  for (const char* cut : {"/train.bin", "/train.idx"}) {
    const std::string corpus = copy_of_corpus("cut" + std::string(cut).substr(7));
    const std::string file = workshop() / corpus + cut;
    fs::resize_file(file, fs::file_size(file) - 10);
    expect_refused({"data.train=" + corpus + "/train"}, 3, corpus + "/train");
  }
}

TEST(BadInput, TokensBeyondTheVocabularyExitWith3) {
  const ProgramResult run =
      workshop().train(2, "beyond", {"data.tokenizer=null", "model.vocab_size=100"});
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_NE(run.err.find("corpus/train"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("100"), std::string::npos) << run.err;
  EXPECT_EQ(workshop().losses("beyond").size(), 0u);
}

TEST(BadInput, ATokenizerThatDidNotMakeTheDataExitsWith3) {
  const ProgramResult made = workshop().tessera(
      {"tokenizer", "train", "--input", "text.txt", "--vocab", "258", "-o", "other.json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  expect_refused({"data.tokenizer=other.json"}, 3, "corpus/train was tokenized with sha256:");
}

TEST(BadInput, AVocabularyBelowTheTokenizersExitsWith3) {
  expect_refused({"model.vocab_size=100"}, 3, "model.vocab_size 100 is below the ");
}

TEST(BadInput, ADeviceThatIsNotThereExitsWith2) {
  expect_refused({"run.device=cuda"}, 2, "run.device=cuda: ");
}

TEST(BadInput, ARefusedRunDoesNotMoveTheEarlierOne) {
  ASSERT_EQ(workshop().train(2, "earlier", {"run.steps=2"}).exit_code, 0);
  const ProgramResult run =
      workshop().train(2, "earlier", {"--resume", "none", "data.train=nowhere"});
  EXPECT_EQ(run.exit_code, 3) << run.err;
  EXPECT_EQ(workshop().losses("earlier").size(), 2u);
  EXPECT_FALSE(fs::exists(workshop() / "earlier.1"));
}

TEST(BadInput, ADamagedCheckpointIsPassedOverWithTheReason) {
  ASSERT_EQ(workshop().train(2, "damaged").exit_code, 0);
  damage(workshop() / "damaged/checkpoints/step-00000020/rank-0001.h5");
  const ProgramResult verify = workshop().tessera({"checkpoint", "verify", "damaged"});
  EXPECT_EQ(verify.exit_code, 4) << verify.out;
  const ProgramResult run = workshop().train(2, "damaged", {"run.steps=22"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(times("W011", run.err), 1) << run.err;
  EXPECT_NE(run.err.find("rank-0001.h5"), std::string::npos) << run.err;
  EXPECT_NE(run.err.find("Resuming from damaged/checkpoints/step-00000010"), std::string::npos)
      << run.err;
  EXPECT_EQ(workshop().last_step("damaged"), 22);
}

TEST(BadInput, WhenNoCheckpointIsSoundNothingStartsAfresh) {
  ASSERT_EQ(workshop().train(2, "ruined", {"run.steps=4", "checkpoint.every=2"}).exit_code, 0);
  for (const char* step : {"step-00000002", "step-00000004"})
    fs::remove(workshop() / "ruined/checkpoints/" + step + "/COMMIT");
  const ProgramResult run = workshop().train(2, "ruined", {"run.steps=6"});
  EXPECT_EQ(run.exit_code, 4) << run.err;
  EXPECT_EQ(times("no checkpoint here is sound", run.err), 1) << run.err;
  EXPECT_EQ(workshop().last_step("ruined"), 4);
}

TEST(BadInput, ResumingFromAnIncompleteCheckpointExitsWith4) {
  ASSERT_EQ(workshop().train(2, "half", {"run.steps=2"}).exit_code, 0);
  fs::remove(workshop() / "half/checkpoints/step-00000002/COMMIT");
  expect_refused({"--resume", "half/checkpoints/step-00000002", "--check"}, 4, "COMMIT");
  expect_refused({"--resume", "nowhere", "--check"}, 4, "nowhere does not exist");
}

TEST(BadInput, ACheckpointOfAnotherModelExitsWith2) {
  ASSERT_EQ(workshop().train(2, "shape", {"run.steps=2"}).exit_code, 0);
  const ProgramResult run = workshop().train(2, "shape", {"model.intermediate_size=64"});
  EXPECT_EQ(run.exit_code, 2) << run.err;
  EXPECT_EQ(times("model.intermediate_size was 80 and is 64", run.err), 1) << run.err;
  const ProgramResult allowed =
      workshop().train(2, "shape", {"model.intermediate_size=64", "--allow-changed", "model"});
  EXPECT_EQ(allowed.exit_code, 2) << allowed.err;
  EXPECT_EQ(times("but the model wants", allowed.err), 1) << allowed.err;
}

TEST(BadInput, ARunDirectoryThatCannotBeMadeExitsWith8) {
  const ProgramResult run = workshop().train(2, "text.txt/run");
  EXPECT_EQ(run.exit_code, 8) << run.err;
  EXPECT_EQ(times("cannot make the run directory text.txt/run", run.err), 1) << run.err;
}

TEST(BadInput, AMisspelledVerbIsGuessed) {
  const ProgramResult run = workshop().tessera({"trian", "recipe.yaml"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err, "unknown command `trian`, did you mean `train`?\n");
  EXPECT_EQ(run.out, "");
}

TEST(BadInput, AMissingVerbAndAnUnknownFlagAreUsageErrors) {
  EXPECT_EQ(workshop().tessera({}).exit_code, 2);
  const ProgramResult flag = workshop().tessera({"train", "recipe.yaml", "--resum", "auto"});
  EXPECT_EQ(flag.exit_code, 2);
  EXPECT_NE(flag.err.find("--resum"), std::string::npos) << flag.err;
}

// A file system of 200 kB, less than one checkpoint.
class SmallDisk {
 public:
  explicit SmallDisk(std::string path) : path_(std::move(path)) {
    fs::create_directory(path_);
    mounted_ = ::mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=200k") == 0;
    if (!mounted_) reason_ = std::string("cannot mount a small tmpfs: ") + std::strerror(errno);
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  const std::string& reason() const { return reason_; }

 private:
  std::string path_;
  bool mounted_ = false;
  std::string reason_;
};

TEST(BadInput, AFullDiskStopsTrainingOnlyAfterThreeFailedSaves) {
  const SmallDisk disk(workshop() / "disk");
  if (!disk.reason().empty()) GTEST_SKIP() << disk.reason();
  const ProgramResult run = workshop().train(
      2, "full", {"checkpoint.directory=disk/checkpoints", "checkpoint.every=2", "run.steps=30"});
  EXPECT_EQ(run.exit_code, 8) << run.err;
  EXPECT_EQ(workshop().last_step("full"), 6) << "two failures are survived, the third is not";
  const auto saves = workshop().metrics("full", "checkpoint");
  ASSERT_EQ(saves.size(), 3u);
  for (const auto& line : saves) EXPECT_TRUE(line.contains("error")) << line.dump();
  EXPECT_EQ(times("W030", run.err), 3) << run.err;
  EXPECT_EQ(times("3 save(s) in a row failed", run.err), 1) << run.err;
}

}  // namespace
}  // namespace tessera
