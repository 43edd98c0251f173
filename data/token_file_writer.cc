// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

#include <unistd.h>

#include "data/hash.h"
#include "data/token_file.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kFirstVocabularyForI32 = 65500;  // Megatron's rule

template <typename T>
void append(PendingFile& file, T value) {
  file.write(&value, sizeof value);
}

}  // namespace

struct TokenFileWriter::State {
  std::string prefix;
  int64_t vocab_size;
  bool narrow;  // u16
  PendingFile bin;
  Sha256 hash;
  std::vector<int32_t> lengths;    // of sequences
  std::vector<int64_t> documents;  // sequence at which each document ends; begins with 0
  int64_t open_tokens = 0;         // of the sequence being written
  int64_t tokens = 0;
  std::vector<uint16_t> narrowed;

  State(const std::string& name, int64_t vocab)
      : prefix(name),
        vocab_size(vocab),
        narrow(vocab < kFirstVocabularyForI32),
        bin(name + ".bin"),
        documents{0} {}

  void end_sequence() {
    lengths.push_back(static_cast<int32_t>(open_tokens));
    open_tokens = 0;
  }

  void write(const void* data, size_t size) {
    bin.write(data, size);
    hash.update(data, size);
  }

  void write_index(PendingFile& idx) const {
    const int token_bytes = narrow ? 2 : 4;
    idx.write(std::string_view("MMIDIDX\0\0", 9));
    append<uint64_t>(idx, 1);
    append<uint8_t>(idx, narrow ? 8 : 4);
    append<uint64_t>(idx, lengths.size());
    append<uint64_t>(idx, documents.size());
    idx.write(lengths.data(), lengths.size() * sizeof(int32_t));
    int64_t offset = 0;
    for (const int32_t length : lengths) {
      append(idx, offset);
      offset += int64_t{length} * token_bytes;
    }
    idx.write(documents.data(), documents.size() * sizeof(int64_t));
  }
};

TokenFileWriter::TokenFileWriter(const std::string& prefix, int64_t vocab_size)
    : state_(std::make_unique<State>(prefix, vocab_size)) {
  check(vocab_size > 0 && vocab_size <= std::numeric_limits<int32_t>::max(), ErrorKind::usage,
        "a vocabulary has 1 .. 2^31 - 1 tokens, got", vocab_size);
}

TokenFileWriter::~TokenFileWriter() = default;

int64_t TokenFileWriter::num_tokens() const {
  return state_->tokens;
}
int64_t TokenFileWriter::num_documents() const {
  return static_cast<int64_t>(state_->documents.size()) - 1;
}

void TokenFileWriter::add(std::span<const int32_t> tokens) {
  State& s = *state_;
  for (const int32_t token : tokens)
    check(token >= 0 && token < s.vocab_size, ErrorKind::data, s.prefix + ": token", token,
          "does not belong to a vocabulary of", s.vocab_size);
  s.tokens += static_cast<int64_t>(tokens.size());
  if (s.narrow) {
    s.narrowed.assign(tokens.begin(), tokens.end());
    s.write(s.narrowed.data(), s.narrowed.size() * sizeof(uint16_t));
  } else {
    s.write(tokens.data(), tokens.size_bytes());
  }
  // A sequence's length is an i32: a longer document becomes several sequences.
  constexpr int64_t kLongest = std::numeric_limits<int32_t>::max();
  for (auto left = static_cast<int64_t>(tokens.size()); left > 0;) {
    const int64_t part = std::min(left, kLongest - s.open_tokens);
    s.open_tokens += part;
    left -= part;
    if (s.open_tokens == kLongest) s.end_sequence();
  }
}

void TokenFileWriter::end_document() {
  State& s = *state_;
  const bool empty = s.documents.back() == static_cast<int64_t>(s.lengths.size());
  if (s.open_tokens > 0 || empty) s.end_sequence();
  s.documents.push_back(static_cast<int64_t>(s.lengths.size()));
}

TokenFileInfo TokenFileWriter::finish(TokenFileInfo info) {
  State& s = *state_;
  if (s.open_tokens > 0) end_document();
  info.tokens = s.tokens;
  info.documents = num_documents();
  if (info.vocab_size == 0) info.vocab_size = s.vocab_size;
  info.bin_sha256 = s.hash.hex();
  s.bin.finish();
  PendingFile idx(s.prefix + ".idx"), json(s.prefix + ".json");
  s.write_index(idx);
  idx.finish();
  json.write(to_json(info));
  json.finish();
  // Without its .idx a file is not there at all: a kill between these lines never leaves a mixture.
  ::unlink((s.prefix + ".idx").c_str());
  s.bin.publish();
  json.publish();
  idx.publish();
  return info;
}

}  // namespace tessera
