// SPDX-License-Identifier: Apache-2.0
// Cuts text into the pieces that byte-pair merges never cross, as the pre_tokenizer of a Hugging
// Face tokenizer.json says: a list of steps, each of which cuts the pieces of the step before.
// Regexes are PCRE2 with Unicode properties; pretokenizer.cc is the only home of PCRE2.
//
// Any bytes are accepted: a run of bytes that is no UTF-8 is a piece of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

extern const char* const kGpt2Regex;  // OpenAI's, the one that ByteLevel(use_regex = true) means

class PreTokenizer {
 public:
  // What becomes of the text that a step's pattern matches, in Hugging Face's words.
  enum class Behavior {
    isolated,              // matches and the text between them are pieces
    removed,               // matches are dropped
    contiguous,            // like isolated, but neighbouring matches are one piece
    merged_with_previous,  // a match ends a piece
    merged_with_next       // a match begins a piece
  };

  // `invert`: the text between the matches is what the behaviour speaks of. Throws Error{data} with
  // the regex compiler's words and the offset.
  void add_regex(const std::string& pattern, Behavior behavior, bool invert);
  void add_literal(const std::string& text, Behavior behavior, bool invert);

  using Sink = std::function<void(std::string_view piece)>;
  void split(std::string_view text, const Sink& sink) const;  // thread-safe
  bool keeps_everything() const;                              // no step removes text
  bool empty() const { return steps_.empty(); }

 private:
  struct Step;
  struct Scratch;
  void add(const std::string& pattern, bool literal, Behavior behavior, bool invert);
  void run(size_t step, std::string_view text, Scratch& scratch, const Sink& sink) const;
  std::vector<std::shared_ptr<const Step>> steps_;
};

}  // namespace tessera
