// SPDX-License-Identifier: Apache-2.0
#include "data/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/files.h"
#include "data/prepare.h"
#include "kernels/base/check.h"
#include "tests/support/temporary.h"

namespace tessera {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct InspectTest : testing::Test {
  TemporaryDirectory directory;
  std::string train = directory / "out/train";
  Tokenizer tokenizer = Tokenizer::bytes();

  InspectTest() {
    write_file(directory / "a.jsonl", "{\"text\": \"first\"}\n{\"text\": \"second one\"}\n");
    write_file(directory / "b.txt", "third");
    prepare({.inputs = {directory / "a.jsonl", directory / "b.txt"},
             .output = directory / "out",
             .tokenizer = "bytes",
             .split = {1},
             .workers = 1});
  }
  std::vector<std::string> problems() {
    return verify_token_file(train, {.tokenizer = &tokenizer, .sources = true}).problems;
  }
};

TEST_F(InspectTest, TellsWhereATokenCameFrom) {
  const TokenFile file = TokenFile::open(train);  // first$second one$third$
  const Origin one = origin_of(file, 8);
  EXPECT_EQ(one.document, 1);
  EXPECT_EQ(one.token_in_document, 2);
  EXPECT_EQ(one.source, directory / "a.jsonl");
  EXPECT_EQ(one.document_in_source, 1);
  const Origin last = origin_of(file, 17);
  EXPECT_EQ(last.source, directory / "b.txt");
  EXPECT_EQ(last.document_in_source, 0);
  EXPECT_THROW(origin_of(file, file.num_tokens()), Error);
}

TEST_F(InspectTest, ShowsDocumentsAsText) {
  const TokenFile file = TokenFile::open(train);
  const DocumentView view = view_document(file, tokenizer, 1, 100);
  EXPECT_EQ(view.text, "second one");
  EXPECT_EQ(view.num_tokens, 11);
  EXPECT_FALSE(view.shortened);
  EXPECT_EQ(view_document(file, tokenizer, 1, 3).text, "sec");
  EXPECT_THROW(view_document(file, tokenizer, 3, 100), Error);
  EXPECT_THAT(sample_documents(file, 2), ElementsAre(0, 1));
  EXPECT_THAT(sample_documents(file, 9), ElementsAre(0, 1, 2));
}

TEST_F(InspectTest, FindsNothingWrongWithAGoodFile) {
  const VerifyReport report = verify_token_file(train, {.tokenizer = &tokenizer, .sources = true});
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(report.documents, 3);
  EXPECT_EQ(report.sources_checked, 2);
}

TEST_F(InspectTest, FindsAChangedByte) {
  std::string bin = read_file(train + ".bin");
  bin[0] = 'F';
  write_file(train + ".bin", bin);
  EXPECT_THAT(problems(), ElementsAre(HasSubstr("train.bin: SHA-256 is")));
  bin[0] = bin[1] = '\xff';
  write_file(train + ".bin", bin);
  EXPECT_THAT(problems(), testing::Contains(HasSubstr("token 0 is 65535")));
  bin[10] = 'x';  // the end of the first document
  write_file(train + ".bin", bin);
  EXPECT_THAT(problems(), testing::Contains(HasSubstr("document 0 does not end with")));
}

TEST_F(InspectTest, FindsAChangedSourceOrTokenizer) {
  write_file(directory / "b.txt", "Third");
  EXPECT_THAT(problems(), ElementsAre(HasSubstr("b.txt: this source has changed")));
  tokenizer = Tokenizer::characters("abc");
  EXPECT_THAT(problems(), testing::Contains(HasSubstr("was tokenized with sha256:")));
}

}  // namespace
}  // namespace tessera
