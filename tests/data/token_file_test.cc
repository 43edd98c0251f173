// SPDX-License-Identifier: Apache-2.0
#include "data/token_file.h"

#include <cstring>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/check.h"
#include "tests/support/temporary.h"

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kGolden = TESSERA_SOURCE_DIR "/tests/golden/indexed_dataset/tiny_text_document";

std::vector<int32_t> all_tokens(const TokenFile& file) {
  std::vector<int32_t> tokens(static_cast<size_t>(file.num_tokens()));
  file.read(0, file.num_tokens(), tokens.data());
  return tokens;
}

// The golden index with one number replaced; what parsing it says.
template <typename T>
std::string damage(size_t offset, T value, int64_t bin_bytes = 12) {
  std::string idx = read_file(kGolden + ".idx");
  std::memcpy(idx.data() + offset, &value, sizeof value);
  try {
    parse_token_index("x.idx", idx, bin_bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    return error.what();
  }
  return "no error";
}

TEST(TokenFile, ReadsMegatronsLayout) {
  const TokenFile file = TokenFile::open(kGolden);
  EXPECT_EQ(file.num_tokens(), 6);
  EXPECT_EQ(file.num_documents(), 3);
  EXPECT_THAT(all_tokens(file), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(file.document_begin(1), 3);
  EXPECT_EQ(file.document_begin(3), 6);
  EXPECT_EQ(file.document_of(2), 0);
  EXPECT_EQ(file.document_of(3), 1);
  EXPECT_EQ(file.document_of(5), 2);
  EXPECT_EQ(file.info().vocab_size, 0);
}

TEST(TokenFile, WritesMegatronsLayout) {
  const TemporaryDirectory directory;
  TokenFileWriter writer(directory / "tiny", 100);
  for (const std::vector<int32_t>& document : {std::vector<int32_t>{1, 2, 3}, {4}, {5, 6}}) {
    writer.add(document);
    writer.end_document();
  }
  TokenFileInfo info;
  info.tokenizer_hash = "sha256:ab";
  info.end_of_document = 7;
  info.bytes = 11;
  info.sources = {{"a.txt", "cd", 11, 3, 6}};
  writer.finish(info);
  EXPECT_EQ(read_file(directory / "tiny.bin"), read_file(kGolden + ".bin"));
  EXPECT_EQ(read_file(directory / "tiny.idx"), read_file(kGolden + ".idx"));
  EXPECT_FALSE(std::filesystem::exists(directory / "tiny.bin.tmp"));

  const TokenFileInfo again = TokenFile::open(directory / "tiny").info();
  EXPECT_EQ(again.tokenizer_hash, "sha256:ab");
  EXPECT_EQ(again.vocab_size, 100);
  EXPECT_EQ(again.end_of_document, 7);
  EXPECT_EQ(again.tokens, 6);
  EXPECT_EQ(again.bytes, 11);
  EXPECT_EQ(again.bin_sha256.size(), 64u);
  ASSERT_EQ(again.sources.size(), 1u);
  EXPECT_EQ(again.sources[0].path, "a.txt");
  EXPECT_EQ(again.sources[0].tokens, 6);
}

TEST(TokenFile, UsesFourBytesForALargeVocabularyAndKeepsEmptyDocuments) {
  const TemporaryDirectory directory;
  TokenFileWriter writer(directory / "wide", 65500);
  writer.end_document();
  writer.add(std::vector<int32_t>{65499, 0});
  writer.end_document();
  writer.end_document();
  writer.finish({});
  const TokenFile file = TokenFile::open(directory / "wide");
  EXPECT_EQ(std::filesystem::file_size(directory / "wide.bin"), 8u);
  EXPECT_THAT(all_tokens(file), ElementsAre(65499, 0));
  EXPECT_EQ(file.num_documents(), 3);
  EXPECT_EQ(file.document_of(0), 1);
  EXPECT_EQ(file.document_of(1), 1);
}

TEST(TokenFile, LeavesTheOldFileWhenAWriterIsGivenUp) {
  const TemporaryDirectory directory;
  TokenFileWriter(directory / "t", 10).finish({});
  { TokenFileWriter unfinished(directory / "t", 10); }
  EXPECT_EQ(TokenFile::open(directory / "t").num_tokens(), 0);
  EXPECT_FALSE(std::filesystem::exists(directory / "t.bin.tmp"));
}

TEST(TokenFile, RefusesATokenOutsideItsVocabulary) {
  const TemporaryDirectory directory;
  TokenFileWriter writer(directory / "t", 10);
  EXPECT_THROW(writer.add(std::vector<int32_t>{10}), Error);
  EXPECT_THROW(writer.add(std::vector<int32_t>{-1}), Error);
}

TEST(TokenFile, SaysWhatIsWrongWithADamagedIndex) {
  EXPECT_EQ(damage<uint64_t>(9, 1), "no error");
  EXPECT_THAT(damage<char>(0, 'm'), HasSubstr("does not begin with MMIDIDX"));
  EXPECT_THAT(damage<uint64_t>(9, 2), HasSubstr("version is 2 but must be 1"));
  EXPECT_THAT(damage<uint8_t>(17, 7), HasSubstr("element type code is 7"));
  EXPECT_THAT(damage<uint64_t>(18, 4), HasSubstr("x.idx: "));
  EXPECT_THAT(damage<uint64_t>(18, uint64_t{1} << 62), HasSubstr("too many for a file of 102"));
  EXPECT_THAT(damage<uint64_t>(26, uint64_t{1} << 61), HasSubstr("document entries"));
  EXPECT_THAT(damage<uint64_t>(26, 3), HasSubstr("8 bytes after the document table"));
  EXPECT_THAT(damage<int32_t>(34, -3), HasSubstr("sequence 0 has length -3"));
  EXPECT_THAT(damage<int32_t>(34, 7), HasSubstr("ends beyond the .bin file"));
  EXPECT_THAT(damage<int64_t>(54, 8), HasSubstr("sequence 1 begins at byte 8"));
  EXPECT_THAT(damage<int64_t>(70, 1), HasSubstr("document entry 0 is 1"));
  EXPECT_THAT(damage<int64_t>(86, 9), HasSubstr("document entry 2 is 9"));
  EXPECT_THAT(damage<int64_t>(94, 2), HasSubstr("the last document ends at sequence 2 of 3"));
  EXPECT_THAT(damage<uint64_t>(9, 1, 10), HasSubstr("is the .bin file truncated?"));
  EXPECT_THAT(damage<uint64_t>(9, 1, 14),
              HasSubstr("12 bytes of tokens, but the .bin file has 14"));
}

TEST(TokenFile, SaysSoForEveryTruncatedIndex) {
  const std::string idx = read_file(kGolden + ".idx");
  for (size_t size = 0; size < idx.size(); ++size)
    EXPECT_THROW(parse_token_index("x.idx", {idx.data(), size}, 12), Error) << size;
}

TEST(TokenFile, NamesTheFileThatIsMissingOrTruncated) {
  const TemporaryDirectory directory;
  const auto what_open_says = [&] {
    try {
      TokenFile::open(directory / "t");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(what_open_says(), HasSubstr("t.idx does not exist"));
  write_file(directory / "t.idx", read_file(kGolden + ".idx"));
  EXPECT_THAT(what_open_says(), HasSubstr("t.bin"));
  write_file(directory / "t.bin", read_file(kGolden + ".bin").substr(0, 9));
  EXPECT_THAT(what_open_says(), HasSubstr("truncated"));
  write_file(directory / "t.bin", read_file(kGolden + ".bin"));
  EXPECT_EQ(what_open_says(), "no error");
  write_file(directory / "t.json", "{\"token_file\": 1, \"tokens\": 5, \"documents\": 3}");
  EXPECT_THAT(what_open_says(), HasSubstr("t.json: says 5 tokens in 3"));
  write_file(directory / "t.json", "{\"token_file\": 1, \"tokens\": \"5\"}");
  EXPECT_THAT(what_open_says(), HasSubstr("t.json: tokens must be a whole number"));
  write_file(directory / "t.json", "{");
  EXPECT_THAT(what_open_says(), HasSubstr("t.json: not JSON"));
}

}  // namespace
}  // namespace tessera
