// SPDX-License-Identifier: Apache-2.0
// What a Tokenizer holds, and the two ways between it and tokenizer.json. For data/tokenizer*.cc
// and data/bpe_trainer.cc only.
#pragma once

#include <array>
#include <unordered_map>

#include "data/pair_map.h"
#include "data/pretokenizer.h"
#include "data/tokenizer.h"

namespace tessera {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;
};

struct Merge {
  int32_t rank = 0;  // lower merges first
  int32_t id = 0;    // of the token that the pair becomes
};

struct Tokenizer::Model {
  std::string name;  // of the file, for messages
  std::string json, hash;
  uint64_t serial = 0;  // tells models apart in the caches of threads

  bool byte_level = true;
  bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges say
  std::vector<std::string> tokens;  // bytes of each id; "" for special tokens and unused ids
  std::vector<AddedToken> added;
  std::optional<int32_t> end_of_document;
  std::array<int32_t, 256> byte_ids{};             // -1: the vocabulary lacks this byte
  std::unordered_map<std::string, int32_t> id_of;  // of the model's vocabulary, by bytes
  PairMap<Merge> merges;
  PreTokenizer pre_tokenizer;
};

// The 256 printable characters that stand for bytes in a byte-level vocabulary (GPT-2's table).
const std::array<std::string, 256>& byte_characters();
// The bytes that a byte-level token's characters stand for; nullopt if one of them is not in the
// table.
std::optional<std::string> bytes_of_token(std::string_view token);

// A tokenizer.json made by us.
struct TokenizerParts {
  bool byte_level = true;
  bool gpt2_regex = true;               // false: no cut before the merges
  std::vector<std::string> vocabulary;  // bytes (byte_level) or characters of ids 0, 1 ...
  std::vector<TokenPair> merges;        // by rank
  std::vector<AddedToken> added;        // all special
};
std::string write_tokenizer_json(const TokenizerParts& parts);

}  // namespace tessera
