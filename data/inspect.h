// SPDX-License-Identifier: Apache-2.0
// Questions that people ask of a token file: `tessera data inspect` and `tessera data verify`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/token_file.h"
#include "data/tokenizer.h"

namespace tessera {

// Where a token came from.
struct Origin {
  int64_t document = 0;  // of the token file
  int64_t token_in_document = 0;
  std::string source;              // path of the input; "" if PREFIX.json does not say
  int64_t document_in_source = 0;  // among those that this source gave to this token file
};
Origin origin_of(const TokenFile& file, int64_t token_index);

struct DocumentView {
  Origin origin;  // of its first token
  int64_t first_token = 0, num_tokens = 0;
  std::string text;  // decoded, at most max_tokens of it
  bool shortened = false;
};
// Throws Error{usage} if there is no such document, Error{data} if the tokens are not the
// tokenizer's.
DocumentView view_document(const TokenFile& file, const Tokenizer& tokenizer, int64_t document,
                           int64_t max_tokens);
// `count` documents, evenly spread over the file.
std::vector<int64_t> sample_documents(const TokenFile& file, int64_t count);

// Everything that can be checked about PREFIX. Damage that makes the file unreadable is thrown as
// Error{data}; what is wrong otherwise is listed, each with the file and what to do.
struct VerifyOptions {
  const Tokenizer* tokenizer = nullptr;  // with it: hash, ids and bytes of text are checked too
  bool sources = false;                  // read the inputs again and compare their SHA-256
};
struct VerifyReport {
  int64_t documents = 0, tokens = 0;
  int64_t sources_checked = 0;
  std::vector<std::string> problems;  // empty: all is well
};
VerifyReport verify_token_file(const std::string& prefix, const VerifyOptions& options);

}  // namespace tessera
