// SPDX-License-Identifier: Apache-2.0
// Input files of `tessera data prepare` as documents.
//   *.jsonl, *.ndjson   one document a line, the string under TextFormat::text_key
//   anything else       plain text: the whole file is one document, unless a separator is given
// each also compressed (*.jsonl.gz, *.txt.zst); capitals do not matter, and TextFormat::kind goes
// before names. A file that is neither is refused: one that data/foreign.h knows, plain text with a
// NUL in it, and, where nobody said that it is text, one whose first line is a JSON object. A byte
// order mark of UTF-8 is no part of the text. Empty documents are left out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/byte_stream.h"
#include "data/jsonl.h"

namespace tessera {

struct TextFormat {
  enum class Kind { by_name, text, json_lines };
  Kind kind = Kind::by_name;
  std::string text_key = "text";
  std::string document_separator;  // plain text only; "" = one document a file
};

// Takes auto | text | jsonl, the words of --format. Throws Error{usage} for another word.
TextFormat::Kind text_kind_named(const std::string& word);

// Files, globs and directories (all files below, hidden ones left out) -> files: in the order
// given, sorted within each, none twice. Throws Error{data} naming what matches nothing.
std::vector<std::string> expand_inputs(const std::vector<std::string>& inputs);

class DocumentReader {
 public:
  DocumentReader(const std::string& path, const TextFormat& format);
  bool next(std::string& document);  // false: the end. Throws Error{data} naming file and line.
  int64_t file_bytes() const { return stream_.file_bytes(); }
  std::string file_sha256() { return stream_.file_sha256(); }  // once, after the end

 private:
  void fill();
  void refuse_nul(size_t from) const;
  void look_at_head();
  bool next_part(std::string_view separator, std::string& part);
  std::string path_;
  TextFormat format_;
  bool json_lines_;
  ByteStream stream_;
  JsonLine json_;
  std::string buffer_;  // read and not handed out yet, from begin_
  size_t begin_ = 0;
  int64_t line_ = 0;
  bool at_end_ = false;
};

}  // namespace tessera
