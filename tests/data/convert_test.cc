// SPDX-License-Identifier: Apache-2.0
#include "data/convert.h"

#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/files.h"
#include "data/inspect.h"
#include "kernels/base/check.h"
#include "tests/support/temporary.h"

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::string raw(const std::vector<uint16_t>& tokens) {
  return {reinterpret_cast<const char*>(tokens.data()), 2 * tokens.size()};
}

struct ConvertTest : testing::Test {
  TemporaryDirectory directory;
  const Tokenizer tokenizer = Tokenizer::bytes();
  const std::string tokens = raw({'a', 'b', 256, 'c', 256});
  ConvertOptions in() {
    return {.from = directory / "raw.bin", .to = directory / "out", .tokenizer = &tokenizer};
  }
  std::string what_it_says(const ConvertOptions& options) {
    try {
      convert_tokens(options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST_F(ConvertTest, CutsNanoGptsTokensIntoDocuments) {
  write_file(directory / "raw.bin", tokens);
  const ConvertReport report = convert_tokens(in());
  EXPECT_EQ(report.tokens, 5);
  EXPECT_EQ(report.documents, 2);
  const TokenFile file = TokenFile::open(directory / "out");
  EXPECT_EQ(file.document_begin(1), 3);
  EXPECT_EQ(file.info().bytes, 3);
  EXPECT_THAT(
      verify_token_file(directory / "out", {.tokenizer = &tokenizer, .sources = true}).problems,
      IsEmpty());
}

TEST_F(ConvertTest, MakesOneDocumentOfTokensWithoutEnds) {
  write_file(directory / "raw.bin", raw({'a', 'b'}));
  EXPECT_EQ(convert_tokens(in()).documents, 1);
  EXPECT_THAT(verify_token_file(directory / "out", {.tokenizer = &tokenizer}).problems, IsEmpty());
}

TEST_F(ConvertTest, GivesTheSameTokensBack) {
  write_file(directory / "raw.bin", tokens);
  convert_tokens(in());
  convert_tokens({.from = directory / "out",
                  .from_format = TokenFormat::megatron,
                  .to = directory / "llmc.bin",
                  .to_format = TokenFormat::llmc});
  EXPECT_EQ(read_file(directory / "llmc.bin").size(), 1024u + 10);
  int32_t header[3];
  std::memcpy(header, read_file(directory / "llmc.bin").data(), sizeof header);
  EXPECT_EQ(header[0], 20240520);
  EXPECT_EQ(header[2], 5);
  convert_tokens({.from = directory / "llmc.bin",
                  .from_format = TokenFormat::llmc,
                  .to = directory / "back.bin",
                  .to_format = TokenFormat::nanogpt});
  EXPECT_EQ(read_file(directory / "back.bin"), tokens);
}

TEST_F(ConvertTest, SaysWhatIsWrong) {
  write_file(directory / "raw.bin", tokens + "x");
  EXPECT_THAT(what_it_says(in()), HasSubstr("raw.bin: has an odd number of bytes"));
  write_file(directory / "raw.bin", raw({300}));
  EXPECT_THAT(what_it_says(in()), HasSubstr("token 300 does not belong to a vocabulary of 257"));
  ConvertOptions options = in();
  options.from_format = TokenFormat::llmc;
  EXPECT_THAT(what_it_says(options), HasSubstr("the header of llm.c alone has 1024"));
  write_file(directory / "raw.bin", std::string(1024, '\1'));
  EXPECT_THAT(what_it_says(options), HasSubstr("raw.bin: begins with 16843009"));
  options.tokenizer = nullptr;
  EXPECT_THAT(what_it_says(options), HasSubstr("--tokenizer"));
  options.to_format = TokenFormat::llmc;
  EXPECT_THAT(what_it_says(options), HasSubstr("the same format"));
  EXPECT_THROW(token_format_named("parquet"), Error);
}

}  // namespace
}  // namespace tessera
