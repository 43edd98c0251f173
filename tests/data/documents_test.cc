// SPDX-License-Identifier: Apache-2.0
// Reads input files of every kind, and finds that none but text is taken for text.
#include "data/documents.h"

#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include "data/files.h"
#include "kernels/base/check.h"
#include "tests/support/temporary.h"

namespace tessera {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using Kind = TextFormat::Kind;

struct Documents : testing::Test {
  TemporaryDirectory directory;

  std::vector<std::string> read(const std::string& name, const std::string& contents,
                                Kind kind = Kind::by_name) {
    const std::string path = directory / name;
    write_file(path, contents);
    DocumentReader reader(path, {.kind = kind, .text_key = "text", .document_separator = ""});
    std::vector<std::string> documents;
    for (std::string document; reader.next(document);) documents.push_back(document);
    return documents;
  }
  std::string complaint(const std::string& name, const std::string& contents,
                        Kind kind = Kind::by_name) {
    try {
      read(name, contents, kind);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
      EXPECT_THAT(error.what(), HasSubstr(name));
      return error.what();
    }
    return "";
  }
};

std::string zstandard(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

TEST_F(Documents, ReadEachJsonLineToItsEnd) {
  EXPECT_THAT(read("a.jsonl", "{\"text\": \"one\", \"meta\": {\"a\": [1]}}  \r\n"),
              ElementsAre("one"));
  for (const char* line :
       {R"({"text":"one"}{"text":"two"})", R"({"text":"one"} {"text":"two"})",
        R"({"text":"hello","meta":{"a":1})", R"({"text":"hello"} trailing})", R"({"text":"a"}])",
        R"({"text":"hello","n":01})", R"({"text":"hello","n":nul})", R"({"text":"hello",})",
        R"({"text":"hello","x":"\q"})"}) {
    EXPECT_THAT(complaint("a.jsonl", "{\"text\":\"x\"}\n"s + line + "\n"),
                HasSubstr("a.jsonl:2: not JSON"))
        << line;
  }
}

TEST_F(Documents, FindTheFieldHoweverItIsWritten) {
  EXPECT_THAT(read("a.jsonl", R"({"te\u0078t":"x"})"), ElementsAre("x"));
  EXPECT_THAT(complaint("a.jsonl", R"({"text":"a","text":"b"})"),
              HasSubstr("a.jsonl:1: has the field `text` 2 times"));
}

TEST_F(Documents, GoByNamesInAnyCaseUnlessToldOtherwise) {
  const std::string lines = "{\"text\":\"m1\"}\n{\"text\":\"m2\"}\n";
  for (const char* name : {"x.JSONL", "x.Ndjson", "x.jsonl"})
    EXPECT_THAT(read(name, lines), ElementsAre("m1", "m2")) << name;
  EXPECT_THAT(read("X.JSONL.ZST", zstandard(lines)), ElementsAre("m1", "m2"));
  EXPECT_THAT(read("x.json", lines, Kind::json_lines), ElementsAre("m1", "m2"));
  EXPECT_THAT(read("x.json", lines, Kind::text), ElementsAre(lines));
  EXPECT_THAT(read("x.jsonl", "{\"text\":1}", Kind::text), ElementsAre("{\"text\":1}"));
  EXPECT_EQ(text_kind_named("jsonl"), Kind::json_lines);
  EXPECT_THROW(text_kind_named("json"), Error);
}

TEST_F(Documents, AreAskedAboutWhereTextMayBeJsonLines) {
  for (const char* name : {"my-corpus.json", "corpus.txt", "corpus"})
    EXPECT_THAT(complaint(name, "{\"text\":\"m1\"}\n{\"text\":\"m2\"}\n"),
                HasSubstr("--format jsonl"))
        << name;
  const std::string long_line = "{\"text\":\"" + std::string(3 << 20, 'a') + "\"}";
  EXPECT_THAT(complaint("long.json", long_line), HasSubstr("--format jsonl"));
  for (const char* text : {"{\n  \"text\": \"m1\"\n}\n", "{braces}\n", "[{\"text\":\"m1\"}]", "{"})
    EXPECT_THAT(read("a.json", text), ElementsAre(text));
}

TEST_F(Documents, ReadWhatParallelZstandardWrites) {
  const std::string skipped("\x50\x2a\x4d\x18\x04\0\0\0\x01\x02\x03\x04", 12);
  EXPECT_THAT(read("x.txt.zst", skipped + zstandard("hello ") + skipped + zstandard("there")),
              ElementsAre("hello there"));
  EXPECT_THAT(complaint("y.txt.zst", skipped.substr(0, 6)), HasSubstr("truncated"));
}

TEST_F(Documents, NeverTakeOtherFilesForText) {
  const std::string rest(600, 'x');
  const std::vector<std::pair<std::string, const char*>> foreign = {{"\xfd\x37zXZ\0"s, "xz -d"},
                                                                    {"BZh91AY&SY", "bunzip2"},
                                                                    {"\x04\x22\x4d\x18", "lz4 -d"},
                                                                    {"PAR1", "Parquet"},
                                                                    {"PK\x03\x04", "unzip"},
                                                                    {"\x7f"
                                                                     "ELF",
                                                                     "ELF"},
                                                                    {"\xff\xfeh\0i\0"s, "UTF-16"},
                                                                    {"\xfe\xff\0h\0i"s, "UTF-16"},
                                                                    {"%PDF-1.7", "pdftotext"}};
  for (const auto& [magic, remedy] : foreign)
    for (const char* name : {"a.txt", "a.jsonl", "a.jsonl.xz"})
      for (const Kind kind : {Kind::by_name, Kind::text, Kind::json_lines})
        EXPECT_THAT(complaint(name, magic + rest, kind), HasSubstr(remedy)) << name;
  EXPECT_THAT(complaint("a.tar", std::string(257, '\0') + "ustar" + rest), HasSubstr("tar"));
  EXPECT_THAT(complaint("a.txt.zst", zstandard(zstandard("hello"))), HasSubstr("zstd twice"));
  EXPECT_THAT(complaint("a.txt.zst", zstandard("PAR1"s + rest)), HasSubstr("Parquet"));
}

TEST_F(Documents, RefuseNulsAnywhereUnlessToldThatTheyAreMeant) {
  for (const size_t at : {size_t{0}, size_t{3}, size_t{511}, size_t{700}, size_t{3} << 20}) {
    std::string text(at, 'a');
    text += '\0';
    EXPECT_THAT(complaint("a.txt", text + "bc"), HasSubstr("NUL bytes")) << at;
    EXPECT_THAT(read("a.txt", text, Kind::text), ElementsAre(text));
  }
}

TEST_F(Documents, LeaveOutAByteOrderMark) {
  EXPECT_THAT(read("a.txt", "\xef\xbb\xbfhello"), ElementsAre("hello"));
  EXPECT_THAT(read("a.jsonl", "\xef\xbb\xbf{\"text\":\"hello\"}\n"), ElementsAre("hello"));
  EXPECT_TRUE(read("a.txt", "\xef\xbb\xbf").empty());
  EXPECT_TRUE(read("a.txt", "").empty());
}

}  // namespace
}  // namespace tessera
