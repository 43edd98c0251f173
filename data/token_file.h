// SPDX-License-Identifier: Apache-2.0
// Tokens on disk, in Megatron-LM's indexed dataset layout (docs/formats/token_file.md):
//   PREFIX.bin   the token ids of all documents, one after the other, little-endian, no header
//   PREFIX.idx   element type, length and offset of every sequence, where every document ends
//   PREFIX.json  ours: which tokenizer and which sources (absent for files made by others)
//
// Here a file is one stream of tokens 0 .. num_tokens() - 1, in which document d covers
// [document_begin(d), document_begin(d + 1)). A file whose sequences do not tile PREFIX.bin in
// order, or that is damaged in any way that its sizes and offsets show, is Error{data} when opened.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/files.h"

namespace tessera {

// One input of `tessera data prepare`; its documents follow those of the source before it.
struct TokenFileSource {
  std::string path;
  std::string sha256;     // of the input file, hex
  int64_t bytes = 0;      // of the input file
  int64_t documents = 0;  // that it gave to this token file
  int64_t tokens = 0;
};

// PREFIX.json. Zero or empty = not recorded (a file made by other tools has no PREFIX.json).
struct TokenFileInfo {
  std::string tokenizer_hash;  // "sha256:..."
  int64_t vocab_size = 0;
  std::optional<int32_t> end_of_document;
  int64_t tokens = 0;
  int64_t documents = 0;
  int64_t bytes = 0;        // of text that the tokens stand for: what bits per byte divides by
  std::string bin_sha256;   // of PREFIX.bin, hex
  std::string fingerprint;  // of inputs and options: equal = prepare has nothing to do
  std::vector<TokenFileSource> sources;
};

// The checked contents of an .idx file; points into the bytes it was parsed from.
struct TokenIndex {
  int dtype_code = 0;   // Megatron's: 1 u8, 2 i8, 3 i16, 4 i32, 5 i64, 8 u16
  int token_bytes = 0;  // 1, 2, 4 or 8
  int64_t num_sequences = 0;
  int64_t num_documents = 0;
  const char* lengths = nullptr;    // i32 each, unaligned
  const char* offsets = nullptr;    // i64 each
  const char* documents = nullptr;  // i64 each, num_documents + 1 of them
};
// `path` is for messages only; bin_bytes is the size of the .bin file. Throws Error{data}.
TokenIndex parse_token_index(const std::string& path, std::span<const char> idx, int64_t bin_bytes);

// A token file, open for reading. Movable; const members are thread-safe.
class TokenFile {
 public:
  static TokenFile open(const std::string& prefix);

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_documents() const { return index_.num_documents; }
  int64_t token(int64_t index) const;
  // Tokens [first, first + count) of the stream. Error{data} if an id does not fit i32.
  void read(int64_t first, int64_t count, int32_t* out) const;

  int64_t document_begin(int64_t document) const;  // document_begin(num_documents()) = num_tokens()
  int64_t document_of(int64_t token_index) const;  // the document that holds this token

  const TokenFileInfo& info() const { return info_; }
  const std::string& prefix() const { return prefix_; }
  std::string bin_path() const { return prefix_ + ".bin"; }
  std::span<const char> bin_bytes() const { return bin_.bytes(); }

 private:
  std::string prefix_;
  MappedFile bin_, idx_;
  TokenIndex index_;
  TokenFileInfo info_;
  int64_t num_tokens_ = 0;
};

// Writes a token file: add() the tokens of a document in any number of pieces, end_document(),
// finish(). Nothing stands at PREFIX until finish() has synced and renamed all three files; a
// writer destroyed before that leaves what was there.
class TokenFileWriter {
 public:
  TokenFileWriter(const std::string& prefix, int64_t vocab_size);  // u16 if vocab_size < 65500
  ~TokenFileWriter();

  void add(std::span<const int32_t> tokens);
  void end_document();
  // Fills in tokens, documents, bin_sha256 (and vocab_size if 0) and writes PREFIX.json.
  TokenFileInfo finish(TokenFileInfo info);
  int64_t num_tokens() const;
  int64_t num_documents() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// PREFIX.json as text, and back. `path` names the file in messages. Throws Error{data}.
std::string to_json(const TokenFileInfo& info);
TokenFileInfo parse_token_file_info(const std::string& path, std::string_view json);

}  // namespace tessera
