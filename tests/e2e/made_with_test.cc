// SPDX-License-Identifier: Apache-2.0
// A checkpoint knows what it was made with: another tokenizer, other data or another model under
// the same names is refused by whoever goes on from it, and a damaged newest one is passed over.
#include <algorithm>
#include <filesystem>

#include <gmock/gmock.h>

#include "tests/support/workshop.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const Workshop& workshop() {
  static const Workshop shared;
  return shared;
}

// Trains on one rank, from the token files below `data`.
ProgramResult train(const std::string& run, const std::string& data, Words more) {
  more.insert(more.begin(),
              {"train", "recipe.yaml", "--run-dir", run, "metrics.tensorboard=false",
               "data.train=" + data + "/train", "data.validation=" + data + "/validation",
               "data.tokenizer=" + data + "/tokenizer.json"});
  return workshop().tessera(more);
}

void prepare(const std::string& data, const std::string& input, const std::string& tokenizer) {
  const ProgramResult made =
      workshop().tessera({"data", "prepare", "--input", input, "-o", data, "--tokenizer", tokenizer,
                          "--split", "0.9,0.1", "--document-separator", "~", "--workers", "1"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
}

// Puts the second half of the text first.
void write_other_text() {
  const std::string text = read_text(workshop() / "text.txt");
  workshop().write("other.txt", text.substr(text.size() / 2) + text.substr(0, text.size() / 2));
}

std::map<std::string, std::string> files_of(const std::string& run) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(workshop() / run))
    if (entry.is_regular_file() && !entry.path().filename().string().starts_with("LEASE."))
      files[entry.path().string()] = read_text(entry.path().string());
  return files;
}

TEST(MadeWith, AnotherTokenizerUnderTheSameNameIsRefusedEverywhere) {
  prepare("a", "text.txt", "bytes");
  ASSERT_EQ(train("tokens", "a", {"--steps", "2"}).exit_code, 0);
  prepare("a", "text.txt", "train:258");
  const auto before = files_of("tokens");
  const auto expect_refused = [](const ProgramResult& result, const std::string& flag) {
    EXPECT_EQ(result.exit_code, 3) << result.err;
    EXPECT_THAT(result.err, AllOf(HasSubstr("tokenizer was sha256:"), HasSubstr(" and is sha256:"),
                                  HasSubstr("--allow-changed " + flag)));
  };
  expect_refused(train("tokens", "a", {"--steps", "4"}), "tokenizer,data");
  expect_refused(workshop().tessera({"eval", "tokens"}), "tokenizer");
  expect_refused(workshop().tessera({"generate", "tokens", "-p", "ka", "--max-tokens", "2"}),
                 "tokenizer");
  expect_refused(workshop().tessera({"checkpoint", "export", "tokens", "-o", "hf"}), "tokenizer");
  EXPECT_FALSE(fs::exists(workshop() / "hf"));
  EXPECT_EQ(files_of("tokens"), before) << "a refused resume touches nothing";

  const Words allowed = {"--allow-changed", "tokenizer,data", "--steps", "4"};
  const ProgramResult on = train("tokens", "a", allowed);
  EXPECT_EQ(on.exit_code, 0) << on.err;
  EXPECT_THAT(on.err, HasSubstr("changed  since step 2: the tokenizer sha256:"));
  EXPECT_EQ(workshop().tessera({"eval", "tokens"}).exit_code, 0) << "the new ones are known now";
}

TEST(MadeWith, DataOfAnotherTokenizerAreNotEvaluated) {
  prepare("b", "text.txt", "bytes");
  prepare("c", "text.txt", "train:258");
  ASSERT_EQ(train("ids", "b", {"--steps", "2"}).exit_code, 0);
  const ProgramResult other = workshop().tessera({"eval", "ids", "--data", "c/validation"});
  EXPECT_EQ(other.exit_code, 3) << other.err;
  EXPECT_THAT(other.err, HasSubstr("c/validation was tokenized with sha256:"));
  const Words allowed = {"eval", "ids", "--data", "c/validation", "--allow-changed", "tokenizer"};
  EXPECT_EQ(workshop().tessera(allowed).exit_code, 0);
  // Ids alone need no tokenizer.
  workshop().write("ids.json", "[1, 2, 3]");
  fs::remove_all(workshop() / "b");
  fs::rename(workshop() / "c", workshop() / "b");
  EXPECT_EQ(workshop().tessera({"eval", "ids", "--tokens", "ids.json"}).exit_code, 0);
}

TEST(MadeWith, AResumeOnOtherTextOrWithAnotherModelIsRefused) {
  prepare("d", "text.txt", "bytes");
  ASSERT_EQ(train("text", "d", {"--steps", "2"}).exit_code, 0);

  const ProgramResult model = train("text", "d", {"--steps", "4", "model.rope_theta=100"});
  EXPECT_EQ(model.exit_code, 2) << model.err;
  EXPECT_THAT(model.err, AllOf(HasSubstr("model.rope_theta was 10000 and is 100"),
                               HasSubstr("--allow-changed model")));
  EXPECT_EQ(workshop().tessera({"eval", "text", "model.rope_theta=100"}).exit_code, 2);
  const Words curious = {"eval", "text", "model.rope_theta=100", "--allow-changed", "model"};
  EXPECT_EQ(workshop().tessera(curious).exit_code, 0);

  const ProgramResult rate = train("text", "d", {"--steps", "3", "optimizer.lr=1e-3"});
  EXPECT_EQ(rate.exit_code, 0) << rate.err;
  EXPECT_THAT(rate.err, HasSubstr("changed  since step 2: optimizer.lr 0.005 -> 0.001\n"));

  write_other_text();
  prepare("d", "other.txt", "bytes");
  const ProgramResult text = train("text", "d", {"--steps", "5"});
  EXPECT_EQ(text.exit_code, 3) << text.err;
  EXPECT_THAT(text.err, AllOf(HasSubstr("the training data was sha256:"), HasSubstr(" and is "),
                              HasSubstr("--allow-changed data")));
  EXPECT_EQ(workshop().tessera({"eval", "text"}).exit_code, 0) << "other text may be evaluated";
  EXPECT_EQ(train("text", "d", {"--steps", "5", "--allow-changed", "everything"}).exit_code, 2);
  const ProgramResult launched = workshop().tessera(
      {"launch", "recipe.yaml", "-n", "1", "--dry-run", "--allow-changed", "data,model"});
  EXPECT_THAT(launched.out, HasSubstr("--allow-changed data,model"));
}

TEST(MadeWith, ACheckpointMayLieElsewhereWithTheSameContents) {
  prepare("e", "text.txt", "bytes");
  ASSERT_EQ(train("moved", "e", {"--steps", "2"}).exit_code, 0);
  fs::rename(workshop() / "e", workshop() / "f");
  const ProgramResult on = train("moved", "f", {"--steps", "3"});
  EXPECT_EQ(on.exit_code, 0) << on.err;
  EXPECT_THAT(on.err, HasSubstr("data.train e/train -> f/train"));
}

// Starts two ranks in directories of their own, as on nodes that do not share one.
ProgramResult on_two_nodes(const Words& more) {
  Words words = {"mpirun", "--oversubscribe", "--bind-to", "none"};
  for (const char* node : {"node0", "node1"}) {
    if (node[4] == '1') words.emplace_back(":");
    words.insert(words.end(), {"-n", "1", "-wdir", workshop() / node, TESSERA_BINARY, "train",
                               workshop() / (node + std::string("/recipe.yaml")), "--run-dir",
                               workshop() / "nodes", "--check"});
    words.insert(words.end(), more.begin(), more.end());
  }
  return run_program(words, workshop().options(), 120);
}

TEST(MadeWith, RanksThatReadOtherFilesOrRecipesAreNamed) {
  for (const char* node : {"node0", "node1"}) {
    fs::create_directory(workshop() / node);
    fs::copy(workshop() / "corpus", workshop() / (node + std::string("/corpus")),
             fs::copy_options::recursive);
    fs::copy(workshop() / "recipe.yaml", workshop() / (node + std::string("/recipe.yaml")));
  }
  write_other_text();
  prepare("node1/corpus", "other.txt", "bytes");
  const ProgramResult files = on_two_nodes({});
  EXPECT_EQ(files.exit_code, 3) << files.err;
  EXPECT_THAT(files.err, HasSubstr("rank 1 reads another token file corpus/train.bin than rank 0"));

  workshop().write("node1/recipe.yaml",
                   read_text(workshop() / "recipe.yaml") + "metrics: {jsonl: false}\n");
  const ProgramResult recipes = on_two_nodes({});
  EXPECT_EQ(recipes.exit_code, 2) << recipes.err;
  EXPECT_THAT(recipes.err, HasSubstr("rank 1 has another recipe than rank 0: metrics.jsonl false"));
}

TEST(Damage, OfTheNewestCheckpointIsPassedOverByWhoeverReads) {
  prepare("g", "text.txt", "bytes");
  ASSERT_EQ(train("worn", "g", {"--steps", "4", "checkpoint.every=2"}).exit_code, 0);
  const std::string newest = "worn/checkpoints/step-00000004";
  std::string bytes = read_text(workshop() / (newest + "/rank-0000.h5"));
  std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(bytes.size() / 10), bytes.end(), 'x');
  workshop().write(newest + "/rank-0000.h5", bytes);
  const ProgramResult eval = workshop().tessera({"eval", "worn"});
  EXPECT_EQ(eval.exit_code, 0) << eval.err;
  EXPECT_THAT(eval.out, HasSubstr("step 2 "));
  EXPECT_THAT(eval.err, AllOf(HasSubstr("W011"), HasSubstr("step-00000004/rank-0000.h5")));
  const ProgramResult text =
      workshop().tessera({"generate", "worn", "-p", "ka", "--max-tokens", "2"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.err, HasSubstr("W011"));
  EXPECT_EQ(workshop().tessera({"eval", newest}).exit_code, 4) << "who names a step gets that one";
}

}  // namespace
}  // namespace tessera
