// SPDX-License-Identifier: Apache-2.0
// The golden files were made with Hugging Face's tokenizers:
// tests/golden/tokenizer/make_vectors.py.
#include "data/tokenizer.h"

#include <cstdlib>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "data/bpe_trainer.h"
#include "data/files.h"
#include "data/hash.h"
#include "kernels/base/check.h"
#include "kernels/base/random.h"
#include "tests/support/temporary.h"

namespace tessera {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

const std::string kGolden = TESSERA_SOURCE_DIR "/tests/golden/tokenizer/";

json golden(const std::string& name) {
  return json::parse(read_file(kGolden + name));
}

std::string random_bytes(uint64_t seed, int64_t size) {
  std::string text;
  for (int64_t i = 0; i < size; ++i)
    text += static_cast<char>(Philox{seed}.bits(static_cast<uint64_t>(i)));
  return text;
}

std::string what_parse_says(const json& file) {
  try {
    Tokenizer::parse("t.json", file.dump());
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    return error.what();
  }
  return "no error";
}

TEST(Tokenizer, EncodesAsHuggingFaceDoes) {
  const json vectors = golden("vectors.json");
  for (const auto& [name, ids] : vectors["ids"].items()) {
    json file = golden("gpt2_style.json");
    file["pre_tokenizer"] = vectors["pre_tokenizers"][name];
    file["added_tokens"] = vectors["added_tokens"][name];
    const Tokenizer tokenizer = Tokenizer::parse(name, file.dump());
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::string text = vectors["texts"][i];
      EXPECT_EQ(tokenizer.encode(text, SpecialTokens::recognised),
                ids[i].get<std::vector<int32_t>>())
          << name << ": " << text;
    }
  }
}

TEST(Tokenizer, LearnsTheMergesThatHuggingFaceLearns) {
  const json file = golden("gpt2_style.json");
  const Tokenizer tokenizer = train_bpe(read_file(kGolden + "train_text.txt"), {.vocab_size = 600});
  const json ours = json::parse(tokenizer.json());
  std::vector<std::string> merges;
  for (const json& merge : file["model"]["merges"])
    merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  EXPECT_EQ(ours["model"]["merges"].get<std::vector<std::string>>(), merges);
  EXPECT_EQ(ours["model"]["vocab"], file["model"]["vocab"]);
  EXPECT_EQ(tokenizer.end_of_document(), 0);
  EXPECT_EQ(tokenizer.vocab_size(), 600);
}

TEST(Tokenizer, TrainsTheSameInPartsAndReportsProgress) {
  const std::string text = read_file(kGolden + "train_text.txt");
  const size_t half = text.find('\n', text.size() / 2) + 1;
  BpeTrainer first, second;
  first.add(text.substr(half));
  second.add(text.substr(0, half));
  first.add(second);
  double last = -1;
  const auto progress = [&](double fraction) { last = fraction; };
  const Tokenizer parts = first.train({.vocab_size = 600, .progress = progress});
  EXPECT_EQ(last, 1);
  EXPECT_EQ(parts.hash(), train_bpe(text, {.vocab_size = 600}).hash());
}

TEST(Tokenizer, StopsWhenNothingIsLeftToMerge) {
  EXPECT_EQ(train_bpe("aaaa", {.vocab_size = 1000}).vocab_size(), 257 + 2);  // aa, aaaa
  EXPECT_THROW(train_bpe("aaaa", {.vocab_size = 256}), Error);
  EXPECT_THROW(train_bpe("", {.vocab_size = 1000}), Error);
}

TEST(Tokenizer, GivesAnyBytesBack) {
  const Tokenizer tokenizers[] = {Tokenizer::load(kGolden + "gpt2_style.json"), Tokenizer::bytes()};
  const std::string samples[] = {"",
                                 "plain",
                                 "caf\xc3",
                                 "\xff\xfe\xc3\xa9\x80x",
                                 "\xed\xa0\x80",
                                 "\xf4\x90\x80\x80",
                                 "<|endoftext|>",
                                 std::string("a\0b", 3),
                                 std::string(100000, 'a'),
                                 std::string(5000, ' '),
                                 random_bytes(1, 20000),
                                 read_file(kGolden + "train_text.txt")};
  for (const Tokenizer& tokenizer : tokenizers)
    for (const std::string& text : samples)
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(Tokenizer, DoesNotTakeControlTokensFromText) {
  const Tokenizer tokenizer = Tokenizer::load(kGolden + "gpt2_style.json");
  EXPECT_THAT(tokenizer.encode("<|endoftext|>", SpecialTokens::recognised), ElementsAre(0));
  EXPECT_GT(tokenizer.encode("<|endoftext|>").size(), 1u);
  EXPECT_EQ(tokenizer.token_bytes(0), "");
  EXPECT_EQ(tokenizer.added_token("<|endoftext|>"), 0);
  EXPECT_EQ(tokenizer.added_token("<|im_start|>"), std::nullopt);
}

TEST(Tokenizer, OfBytesHasTheBytesAndOneMore) {
  const Tokenizer tokenizer = Tokenizer::bytes();
  EXPECT_EQ(tokenizer.vocab_size(), 257);
  EXPECT_EQ(tokenizer.end_of_document(), 256);
  EXPECT_THAT(tokenizer.encode("A\xff\n"), ElementsAre(65, 255, 10));
}

TEST(Tokenizer, OfCharactersSortsThem) {
  const Tokenizer tokenizer = Tokenizer::characters("banané\n");
  EXPECT_EQ(tokenizer.vocab_size(), 5);
  EXPECT_THAT(tokenizer.encode("\nabné"), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("né")), "né");
  EXPECT_EQ(tokenizer.end_of_document(), std::nullopt);
  EXPECT_THROW(tokenizer.encode("c"), Error);
  EXPECT_THROW(tokenizer.encode("a\xff"), Error);
}

TEST(Tokenizer, ComesBackFromItsFile) {
  const TemporaryDirectory directory;
  const Tokenizer tokenizers[] = {Tokenizer::load(kGolden + "gpt2_style.json"), Tokenizer::bytes(),
                                  Tokenizer::characters("abc é"),
                                  train_bpe("some text, some more text", {.vocab_size = 270})};
  for (const Tokenizer& tokenizer : tokenizers) {
    tokenizer.save(directory / "tokenizer.json");
    const Tokenizer again = Tokenizer::load(directory / "tokenizer.json");
    EXPECT_EQ(again.hash(), tokenizer.hash());
    EXPECT_EQ(again.vocab_size(), tokenizer.vocab_size());
    EXPECT_EQ(again.encode("a b c"), tokenizer.encode("a b c"));
  }
}

TEST(Tokenizer, HasAHashOfItsContentsNotOfTheirLayout) {
  const json file = golden("gpt2_style.json");
  EXPECT_EQ(Tokenizer::parse("a", file.dump()).hash(), Tokenizer::parse("b", file.dump(4)).hash());
  EXPECT_THAT(Tokenizer::parse("a", file.dump()).hash(), testing::StartsWith("sha256:"));
  EXPECT_NE(Tokenizer::parse("a", file.dump()).hash(), Tokenizer::bytes().hash());
}

TEST(Tokenizer, NamesTheFieldThatItCannotUse) {
  const json good = json::parse(train_bpe("aa ab", {.vocab_size = 258}).json());
  EXPECT_EQ(what_parse_says(good), "no error");
  const auto changed = [&](const std::string& pointer, const json& value) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    return what_parse_says(bad);
  };
  EXPECT_THAT(changed("/model/type", "Unigram"), HasSubstr("t.json: model.type is `Unigram`"));
  EXPECT_THAT(changed("/model/byte_fallback", true),
              HasSubstr("model.byte_fallback is not supported"));
  EXPECT_THAT(changed("/model/merges/0", "ab"), HasSubstr("model.merges[0] must be \"a b\""));
  EXPECT_THAT(changed("/model/merges/0", "a Q7"), HasSubstr("model.merges[0] needs `Q7`"));
  EXPECT_THAT(changed("/model/vocab/a", -1), HasSubstr("model.vocab.a must be a token id"));
  EXPECT_THAT(changed("/model/vocab/a", 1e300), HasSubstr("model.vocab.a must be a token id"));
  EXPECT_THAT(changed("/model/vocab/a", 7), HasSubstr("gives id 7 to two tokens"));
  EXPECT_THAT(changed("/model/vocab/日", 1000), HasSubstr("`日`, which is no byte-level token"));
  EXPECT_THAT(changed("/normalizer", {{"type", "NFC"}}), HasSubstr("normalizer is `NFC`"));
  EXPECT_THAT(changed("/pre_tokenizer/add_prefix_space", true), HasSubstr("add_prefix_space"));
  EXPECT_THAT(changed("/pre_tokenizer/type", "Metaspace"),
              HasSubstr("pre_tokenizer.type is `Metaspace`"));
  const json split = {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
  EXPECT_THAT(changed("/pre_tokenizer", split), HasSubstr("missing closing parenthesis"));
  EXPECT_THAT(changed("/added_tokens/0/id", "x"),
              HasSubstr("added_tokens[0].id must be a token id"));
  EXPECT_THAT(changed("/added_tokens/0/lstrip", true), HasSubstr("lstrip is not supported"));
  EXPECT_THAT(changed("/decoder/type", "WordPiece"), HasSubstr("decoder.type is `WordPiece`"));
  json missing = good;
  missing.erase("model");
  EXPECT_THAT(what_parse_says(missing), HasSubstr("lacks `model`"));
  EXPECT_THROW(Tokenizer::parse("t.json", "{"), Error);
  EXPECT_THROW(Tokenizer::parse("t.json", std::string(100000, '[')), Error);
  EXPECT_THROW(Tokenizer::load("/nonexistent/tokenizer.json"), Error);
}

TEST(Tokenizer, EncodesOnManyThreads) {
  const Tokenizer tokenizer = Tokenizer::load(kGolden + "gpt2_style.json"),
                  other = Tokenizer::bytes();
  const std::string text = read_file(kGolden + "train_text.txt");
  const std::vector<int32_t> expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      EXPECT_EQ(tokenizer.encode(text), expected);
      EXPECT_EQ(other.encode(text).size(), text.size());
      EXPECT_EQ(tokenizer.encode(text), expected);
    });
  for (std::thread& thread : threads) thread.join();
}

// nanoGPT's data/shakespeare_char: 65 characters, the first 90 % for training, raw u16.
TEST(Tokenizer, MakesNanoGptsShakespeareFiles) {
  const char* path = std::getenv("TESSERA_TINYSHAKESPEARE");
  if (path == nullptr) GTEST_SKIP() << "set TESSERA_TINYSHAKESPEARE to tinyshakespeare's input.txt";
  const std::string text = read_file(path);
  const Tokenizer tokenizer = Tokenizer::characters(text);
  EXPECT_EQ(tokenizer.vocab_size(), 65);
  const std::vector<int32_t> ids = tokenizer.encode(text);
  const std::vector<uint16_t> narrow(ids.begin(), ids.end());
  const size_t cut = narrow.size() * 9 / 10;
  Sha256 train, validation;
  train.update(narrow.data(), cut * 2);
  validation.update(narrow.data() + cut, (narrow.size() - cut) * 2);
  EXPECT_EQ(train.hex(), "6ec305602a99ac2802745a134e1f5e33e2231b4855525b00b9aebb730ac2626f");
  EXPECT_EQ(validation.hex(), "d37d30cc0c8327c270d493299c3dca54135f6d5f1c9ef60cda78076e311204b1");
}

}  // namespace
}  // namespace tessera
