// SPDX-License-Identifier: Apache-2.0
// Learns the merges of a byte-level BPE tokenizer: again and again the pair of neighbouring tokens
// that is most frequent becomes a token; of equally frequent pairs the one with the smaller ids,
// left first. These are the rules of Hugging Face's BpeTrainer (initial alphabet: all bytes), so
// that the same text gives the same merges. The result depends on the text alone, not on the order
// in which it was added or the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "data/pretokenizer.h"
#include "data/tokenizer.h"

namespace tessera {

struct BpeOptions {
  int64_t vocab_size = 8192;                      // with the 256 bytes and the end of a document
  std::function<void(double fraction)> progress;  // of the merges learnt; may be empty
  std::string end_of_document = "<|endoftext|>";  // token 0; "" for none
};

class BpeTrainer {
 public:
  BpeTrainer();
  void add(std::string_view text);    // counts its pieces
  void add(const BpeTrainer& other);  // adds its counts: one trainer for each thread
  // Fewer than vocab_size tokens come out when the text has no more pairs to merge.
  // Throws Error{usage} if vocab_size has no room for all bytes, Error{data} without text.
  Tokenizer train(const BpeOptions& options) const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  PreTokenizer pre_tokenizer_;
  std::unordered_map<std::string, int64_t, Hash, std::equal_to<>> counts_;  // of each piece
};

Tokenizer train_bpe(std::string_view text, const BpeOptions& options);

}  // namespace tessera
