// SPDX-License-Identifier: Apache-2.0
// Text to token ids and back: byte-level byte-pair encoding as in GPT-2 and DeepSeek, kept in
// Hugging Face's tokenizer.json; a tokenizer of single bytes and one of single characters are
// special cases of the same file.
//
//   const Tokenizer tokenizer = Tokenizer::load("corpora/kjv/tokenizer.json");
//   tokenizer.decode(tokenizer.encode("In the beginning")) == "In the beginning"
//
// A byte-level tokenizer encodes any bytes, UTF-8 or not, and decode() gives them back. Immutable,
// cheap to copy; every const function is thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// Whether the names of added tokens ("<|endoftext|>") that occur in a text mean these tokens. Text
// from outside must not be able to write control tokens, so the default is no; Hugging Face's
// encode() is `recognised`.
enum class SpecialTokens { as_text, recognised };

class Tokenizer {
 public:
  // Reads a tokenizer.json: model BPE; pre_tokenizer ByteLevel, Split, Digits or a Sequence of
  // them; added_tokens. Post-processors are kept but not applied: encode() adds nothing. Anything
  // that would change the tokens and is not supported is Error{data} naming file and field.
  static Tokenizer load(const std::string& tokenizer_json);
  static Tokenizer parse(const std::string& name, std::string_view json);  // the same from memory

  static Tokenizer bytes();  // ids 0 .. 255 are the bytes, 256 is the end of a document
  // Ids 0 .. n - 1 are the distinct characters of `text`, sorted by code point; no special token.
  // Text with other characters cannot be encoded: Error{data}.
  static Tokenizer characters(std::string_view text);

  std::vector<int32_t> encode(std::string_view text,
                              SpecialTokens special = SpecialTokens::as_text) const;
  std::string decode(std::span<const int32_t> tokens) const;  // special tokens give nothing

  int64_t vocab_size() const;                         // largest id + 1
  std::string_view token_bytes(int32_t token) const;  // "" for a special token or an unused id
  std::optional<int32_t> end_of_document() const;     // "<|endoftext|>" and its usual other names
  std::optional<int32_t> added_token(std::string_view content) const;
  bool byte_level() const;  // false: a tokenizer of characters

  std::string hash() const;  // "sha256:..." of the file's contents, however it is laid out
  const std::string& json() const;
  void save(const std::string& path) const;

  struct Model;  // data/tokenizer_model.h

 private:
  explicit Tokenizer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  std::shared_ptr<const Model> model_;
};

}  // namespace tessera
