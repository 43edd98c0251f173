// SPDX-License-Identifier: Apache-2.0
#include "data/prepare.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "data/files.h"
#include "data/hash.h"
#include "data/token_file.h"
#include "kernels/base/check.h"
#include "tests/support/temporary.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

std::string document(int number) {
  std::string text = "document " + std::to_string(number) + " says:";
  for (int i = 0; i < number % 37; ++i) text += " word" + std::to_string(i * number % 11);
  return text + "\n";
}

std::string json_lines(int first, int count) {
  std::string lines;
  for (int i = first; i < first + count; ++i)
    lines += nlohmann::json{{"id", i}, {"text", document(i)}}.dump() + "\n";
  return lines;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstandard(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::vector<int32_t> tokens_of(const std::string& prefix) {
  const TokenFile file = TokenFile::open(prefix);
  std::vector<int32_t> tokens(static_cast<size_t>(file.num_tokens()));
  file.read(0, file.num_tokens(), tokens.data());
  return tokens;
}

// Every file that prepare leaves, by name.
std::map<std::string, std::string> outputs(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), directory)] = read_file(entry.path());
  return files;
}

struct PrepareTest : testing::Test {
  TemporaryDirectory directory;
  PrepareOptions options;

  PrepareTest() {
    options.output = directory / "out";
    options.tokenizer = "train:300";
    options.workers = 2;
  }
  void input(const std::string& name, const std::string& contents) {
    write_file(directory / name, contents);
    options.inputs.push_back(directory / name);
  }
  std::string what_it_says() {
    try {
      prepare(options);
    } catch (const Error& error) {
      return std::string(name(error.kind())) + ": " + error.what();
    }
    return "no error";
  }
};

TEST_F(PrepareTest, CutsOneTextAtItsEnd) {
  const std::string text(1000, 'a');
  input("a.txt", text + "é");
  options.tokenizer = "bytes";
  options.split = {0.9, 0.1};
  const PrepareReport report = prepare(options);
  EXPECT_EQ(report.documents, 1);
  ASSERT_EQ(report.splits.size(), 2u);
  EXPECT_EQ(report.splits[0].bytes, 901);
  EXPECT_EQ(report.splits[1].bytes, 101);
  EXPECT_EQ(tokens_of(directory / "out/train").size(), 902u);  // and the end of the document
  EXPECT_EQ(tokens_of(directory / "out/validation").back(), 256);
  const TokenFileInfo info = TokenFile::open(directory / "out/train").info();
  EXPECT_EQ(info.tokenizer_hash, Tokenizer::bytes().hash());
  EXPECT_EQ(info.tokenizer_hash, Tokenizer::load(report.tokenizer).hash());
  EXPECT_EQ(info.end_of_document, 256);
  ASSERT_EQ(info.sources.size(), 1u);
  EXPECT_EQ(info.sources[0].path, directory / "a.txt");
  EXPECT_EQ(info.sources[0].bytes, 1002);
  EXPECT_EQ(info.sources[0].sha256, sha256_hex(text + "é"));
  EXPECT_FALSE(fs::exists(directory / "out/.prepare"));
}

TEST_F(PrepareTest, SpreadsWholeDocumentsOverTheSplits) {
  input("a.jsonl", json_lines(0, 200));
  options.split = {0.9, 0.1};
  const PrepareReport report = prepare(options);
  EXPECT_EQ(report.splits[0].documents, 180);
  EXPECT_EQ(report.splits[1].documents, 20);
  const Tokenizer tokenizer = Tokenizer::load(report.tokenizer);
  EXPECT_EQ(tokenizer.vocab_size(), 300);
  const TokenFile train = TokenFile::open(directory / "out/train");
  std::vector<int32_t> first(static_cast<size_t>(train.document_begin(1)));
  train.read(0, train.document_begin(1), first.data());
  EXPECT_EQ(tokenizer.decode(first), document(0));
  EXPECT_EQ(first.back(), *tokenizer.end_of_document());
}

TEST_F(PrepareTest, GivesTheSameBytesForAnyNumberOfWorkersAndParts) {
  input("a.jsonl", json_lines(0, 300));
  input("b.txt", document(1000));
  input("c.jsonl", json_lines(300, 50));
  options.workers = 1;
  prepare(options);
  const auto expected = outputs(directory / "out");
  EXPECT_EQ(expected.size(), 7u);
  options.output = directory / "again";
  options.workers = 3;
  options.part_bytes = 1;
  EXPECT_EQ(prepare(options).parts, 3);
  EXPECT_EQ(outputs(directory / "again"), expected);
}

TEST_F(PrepareTest, ReadsCompressedInputsLikeTheOthers) {
  const std::string lines = json_lines(0, 60);
  input("plain.jsonl", lines);
  prepare(options);
  const auto expected = tokens_of(directory / "out/train");
  for (const bool use_zstd : {false, true}) {
    options.inputs.clear();
    const auto pack = use_zstd ? zstandard : gzip;
    // Two members in a row are one stream.
    const size_t half = lines.size() / 2;
    input(use_zstd ? "z.jsonl.zst" : "g.jsonl.gz",
          pack(lines.substr(0, half)) + pack(lines.substr(half)));
    prepare(options);
    EXPECT_EQ(tokens_of(directory / "out/train"), expected);
  }
}

TEST_F(PrepareTest, HasNothingToDoTheSecondTime) {
  input("a.jsonl", json_lines(0, 150));
  EXPECT_FALSE(prepare(options).up_to_date);
  const auto before = outputs(directory / "out");
  const PrepareReport report = prepare(options);
  EXPECT_TRUE(report.up_to_date);
  EXPECT_EQ(report.vocab_size, 300);
  EXPECT_EQ(outputs(directory / "out"), before);
  options.tokenizer = "bytes";
  EXPECT_FALSE(prepare(options).up_to_date);
  write_file(directory / "out/train.bin", "torn");
  EXPECT_FALSE(prepare(options).up_to_date);
  EXPECT_TRUE(prepare(options).up_to_date);
}

TEST_F(PrepareTest, GoesOnAfterAKillWithoutRedoingFinishedParts) {
  for (int i = 0; i < 4; ++i) input("in" + std::to_string(i) + ".jsonl", json_lines(100 * i, 100));
  options.part_bytes = 1;
  options.workers = 1;
  prepare(options);
  const auto expected = outputs(directory / "out");
  // Kill in every stage; encode when its third part has begun.
  for (const std::string stage : {"survey", "tokenizer", "encode", "assemble"}) {
    options.output = directory / stage;
    const pid_t child = ::fork();
    if (child == 0) {
      int64_t after = stage == "encode" ? 2 : 0;
      int64_t last = -1;
      options.progress = [&](const PrepareProgress& progress) {
        if (progress.stage != stage || progress.done == last) return;
        last = progress.done;
        if (after-- == 0) ::kill(::getpid(), SIGKILL);
      };
      prepare(options);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << stage;
    EXPECT_FALSE(fs::exists(directory / (stage + "/train.idx")));
    const PrepareReport report = prepare(options);
    EXPECT_EQ(report.parts_reused, stage == "encode" ? 2 : stage == "assemble" ? 4 : 0) << stage;
    EXPECT_EQ(outputs(directory / stage), expected) << stage;
  }
}

TEST_F(PrepareTest, KeepsTheFirstOfEqualDocuments) {
  input("a.jsonl", json_lines(0, 120) + json_lines(10, 20));
  input("b.jsonl", json_lines(100, 40));
  options.dedup_exact = true;
  const PrepareReport report = prepare(options);
  EXPECT_EQ(report.documents, 140);
  EXPECT_EQ(report.duplicates, 40);
  EXPECT_EQ(report.splits[0].documents + report.splits[1].documents, 140);
  const auto info = TokenFile::open(directory / "out/train").info();
  EXPECT_EQ(info.sources[0].documents + info.sources[1].documents, report.splits[0].documents);
}

TEST_F(PrepareTest, CutsPlainTextAtASeparator) {
  input("a.txt", "one\n\ntwo\n\n\n\nthree");
  options.document_separator = "\\n\\n";
  options.tokenizer = "bytes";
  options.split = {1};
  const PrepareReport report = prepare(options);
  EXPECT_EQ(report.documents, 3);
  ASSERT_EQ(report.splits.size(), 1u);
  EXPECT_EQ(report.splits[0].documents, 3);
  EXPECT_THAT(tokens_of(directory / "out/train"),
              ElementsAre('o', 'n', 'e', 256, 't', 'w', 'o', 256, 't', 'h', 'r', 'e', 'e', 256));
}

TEST_F(PrepareTest, TakesGlobsAndDirectories) {
  fs::create_directories(directory / "corpus/below");
  write_file(directory / "corpus/a.txt", "aa");
  write_file(directory / "corpus/below/b.txt", "bb");
  write_file(directory / "corpus/.hidden", "no");
  options.inputs = {directory / "corpus/*.txt", directory / "corpus"};
  options.tokenizer = "bytes";
  EXPECT_EQ(prepare(options).inputs, 2);
}

TEST_F(PrepareTest, SaysWhatIsWrong) {
  options.inputs = {directory / "none*.txt"};
  EXPECT_THAT(what_it_says(), HasSubstr("data: no file matches"));
  options.inputs.clear();
  EXPECT_THAT(what_it_says(), HasSubstr("usage: no input is named"));
  const auto with = [&](const std::string& name, const std::string& contents) {
    options.inputs.clear();
    input(name, contents);
    return what_it_says();
  };
  EXPECT_THAT(with("a.jsonl", "{\"text\": \"x\"}\n\n{\"text\": 3}\n"),
              HasSubstr("a.jsonl:3: the field `text` is no valid string"));
  EXPECT_THAT(with("a.jsonl", "{\"body\": \"x\"}\n"), HasSubstr("a.jsonl:1: has no field `text`"));
  EXPECT_THAT(with("a.jsonl", "{\"text\": \"x\n"), HasSubstr("a.jsonl:1: not JSON"));
  EXPECT_THAT(with("a.jsonl", "[1]\n"), HasSubstr("a.jsonl:1: every line must be a JSON object"));
  EXPECT_THAT(with("a.txt", ""), HasSubstr("there is no text in"));
  const std::string packed = gzip(json_lines(0, 10));
  EXPECT_THAT(with("a.jsonl.gz", packed.substr(0, packed.size() / 2)), HasSubstr("truncated"));
  EXPECT_THAT(with("a.jsonl.zst", zstandard(json_lines(0, 10)).substr(0, 60)),
              HasSubstr("truncated"));
  std::string damaged = packed;
  damaged[packed.size() / 2] ^= 0x55;
  EXPECT_THAT(with("a.jsonl.gz", damaged), HasSubstr("a.jsonl.gz"));
  options.tokenizer = "chars";
  EXPECT_THAT(with("a.txt", "a\xff"), HasSubstr("is no UTF-8; use --tokenizer bytes"));
  options.tokenizer = "train:12";
  EXPECT_THAT(with("a.txt", "a"), HasSubstr("usage: --tokenizer train:N"));
  options.tokenizer = directory / "no.json";
  EXPECT_THAT(with("a.txt", "a"), HasSubstr("no.json"));
  options.tokenizer = "bytes";
  options.split = {0.9, 0.2};
  EXPECT_THAT(with("a.txt", "a"), HasSubstr("must sum to 1"));
}

// nanoGPT's data/shakespeare_char through the whole pipeline.
TEST_F(PrepareTest, MakesNanoGptsShakespeareFiles) {
  const char* path = std::getenv("TESSERA_TINYSHAKESPEARE");
  if (path == nullptr) GTEST_SKIP() << "set TESSERA_TINYSHAKESPEARE to tinyshakespeare's input.txt";
  options.inputs = {path};
  options.tokenizer = "chars";
  options.split = {0.9, 0.1};
  EXPECT_EQ(prepare(options).vocab_size, 65);
  EXPECT_EQ(TokenFile::open(directory / "out/train").info().bin_sha256,
            "6ec305602a99ac2802745a134e1f5e33e2231b4855525b00b9aebb730ac2626f");
  EXPECT_EQ(TokenFile::open(directory / "out/validation").info().bin_sha256,
            "d37d30cc0c8327c270d493299c3dca54135f6d5f1c9ef60cda78076e311204b1");
}

}  // namespace
}  // namespace tessera
