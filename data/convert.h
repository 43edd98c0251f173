// SPDX-License-Identifier: Apache-2.0
// Token files of other trainers, in and out: `tessera data convert`.
//   megatron   PREFIX.bin + PREFIX.idx (+ PREFIX.json), our own
//   nanogpt    one file of u16 ids, nothing else
//   llmc       llm.c's: 256 i32 header (20240520, 1, number of tokens), then u16 ids
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/token_file.h"
#include "data/tokenizer.h"

namespace tessera {

enum class TokenFormat { megatron, nanogpt, llmc };
TokenFormat token_format_named(std::string_view name);  // Error{usage} that lists the names

struct ConvertOptions {
  std::string from{};  // a PREFIX for megatron, else a file
  TokenFormat from_format = TokenFormat::nanogpt;
  std::string to{};
  TokenFormat to_format = TokenFormat::megatron;
  // Needed to write megatron from another format: vocabulary, hash, bytes of text, and the token
  // that ends documents. Without such a token everything is one document.
  const Tokenizer* tokenizer = nullptr;
};

struct ConvertReport {
  int64_t tokens = 0, documents = 0;
};

// Throws Error{data} about the source (also for an id the target or the tokenizer has no room for).
ConvertReport convert_tokens(const ConvertOptions& options);

}  // namespace tessera
