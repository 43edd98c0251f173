// SPDX-License-Identifier: Apache-2.0
#include "data/convert.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>

#include "data/files.h"
#include "data/hash.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kBlock = 1 << 16;  // tokens at a time
constexpr size_t kLlmcHeader = 256;  // i32 numbers
constexpr int32_t kLlmcMagic = 20240520, kLlmcVersion = 1;

using Take = std::function<void(std::span<const int32_t>)>;

// The tokens of a file of u16 ids that begin at byte `begin`.
void read_u16(const MappedFile& file, size_t begin, const Take& take) {
  const std::span<const char> bytes = file.bytes().subspan(begin);
  check(bytes.size() % 2 == 0, ErrorKind::data, file.path() + ": has an odd number of bytes,",
        file.size(), "- no file of u16 tokens, or truncated");
  std::vector<uint16_t> narrow;
  std::vector<int32_t> wide;
  for (size_t at = 0; at < bytes.size(); at += 2 * narrow.size()) {
    narrow.resize(std::min(static_cast<size_t>(kBlock), (bytes.size() - at) / 2));
    std::memcpy(narrow.data(), bytes.data() + at, 2 * narrow.size());
    wide.assign(narrow.begin(), narrow.end());
    take(wide);
  }
}

void read_llmc(const MappedFile& file, const Take& take) {
  std::array<int32_t, kLlmcHeader> header;
  check(file.bytes().size() >= sizeof header, ErrorKind::data, file.path() + ": has", file.size(),
        "bytes, but the header of llm.c alone has", sizeof header);
  std::memcpy(header.data(), file.bytes().data(), sizeof header);
  check(header[0] == kLlmcMagic && header[1] == kLlmcVersion, ErrorKind::data,
        file.path() + ": begins with", header[0], header[1], "but llm.c's GPT-2 tokens with",
        kLlmcMagic, kLlmcVersion);
  const int64_t tokens = (file.size() - static_cast<int64_t>(sizeof header)) / 2;
  check(header[2] == tokens, ErrorKind::data, file.path() + ": says", header[2], "tokens, but has",
        tokens, "- is it truncated?");
  read_u16(file, sizeof header, take);
}

void read_megatron(const TokenFile& file, const Take& take) {
  std::vector<int32_t> ids;
  for (int64_t first = 0; first < file.num_tokens(); first += kBlock) {
    ids.resize(static_cast<size_t>(std::min(kBlock, file.num_tokens() - first)));
    file.read(first, static_cast<int64_t>(ids.size()), ids.data());
    take(ids);
  }
}

void read_tokens(const ConvertOptions& options, const Take& take) {
  switch (options.from_format) {
    case TokenFormat::megatron: return read_megatron(TokenFile::open(options.from), take);
    case TokenFormat::nanogpt: return read_u16(MappedFile::open(options.from), 0, take);
    case TokenFormat::llmc: return read_llmc(MappedFile::open(options.from), take);
  }
}

ConvertReport write_megatron(const ConvertOptions& options) {
  check(options.tokenizer != nullptr, ErrorKind::usage,
        "converting to megatron needs the tokenizer of the tokens (--tokenizer FILE)");
  const Tokenizer& tokenizer = *options.tokenizer;
  TokenFileWriter writer(options.to, tokenizer.vocab_size());
  TokenFileInfo info;
  info.tokenizer_hash = tokenizer.hash();
  info.end_of_document = tokenizer.end_of_document();
  bool open = false;  // a document has begun
  read_tokens(options, [&](std::span<const int32_t> ids) {
    while (!ids.empty()) {
      const auto end = tokenizer.end_of_document()
                           ? std::find(ids.begin(), ids.end(), *tokenizer.end_of_document())
                           : ids.end();
      open = end == ids.end();
      const auto part = ids.first(static_cast<size_t>(end - ids.begin()) + (open ? 0 : 1));
      writer.add(part);
      for (const int32_t id : part)
        info.bytes += static_cast<int64_t>(tokenizer.token_bytes(id).size());
      if (!open) writer.end_document();
      ids = ids.subspan(part.size());
    }
  });
  if (open) writer.end_document();
  // What ends without the token has no such ends to be held to.
  if (open) info.end_of_document.reset();
  const MappedFile source = MappedFile::open(options.from);
  Sha256 hash;
  hash.update(source.text());
  info.sources = {
      {options.from, hash.hex(), source.size(), writer.num_documents(), writer.num_tokens()}};
  info = writer.finish(std::move(info));
  return {info.tokens, info.documents};
}

ConvertReport write_u16(const ConvertOptions& options) {
  PendingFile out(options.to);
  if (options.to_format == TokenFormat::llmc) {
    int64_t count = 0;
    read_tokens(options, [&](auto ids) { count += static_cast<int64_t>(ids.size()); });
    check(count <= std::numeric_limits<int32_t>::max(), ErrorKind::data, options.from + ": has",
          count, "tokens, too many for one file of llm.c");
    std::array<int32_t, kLlmcHeader> header{kLlmcMagic, kLlmcVersion, static_cast<int32_t>(count)};
    out.write(header.data(), sizeof header);
  }
  ConvertReport report{0, 1};
  std::vector<uint16_t> narrow;
  read_tokens(options, [&](std::span<const int32_t> ids) {
    for (const int32_t id : ids)
      check(id >= 0 && id <= std::numeric_limits<uint16_t>::max(), ErrorKind::data,
            options.from + ": token id", id, "does not fit the u16 of the target format");
    narrow.assign(ids.begin(), ids.end());
    out.write(narrow.data(), 2 * narrow.size());
    report.tokens += static_cast<int64_t>(ids.size());
  });
  out.publish();
  return report;
}

}  // namespace

TokenFormat token_format_named(std::string_view name) {
  if (name == "megatron") return TokenFormat::megatron;
  if (name == "nanogpt") return TokenFormat::nanogpt;
  if (name == "llmc") return TokenFormat::llmc;
  fail(ErrorKind::usage, "unknown token format", name, "- known are megatron, nanogpt, llmc");
}

ConvertReport convert_tokens(const ConvertOptions& options) {
  check(options.from_format != options.to_format, ErrorKind::usage,
        "source and target of the conversion have the same format");
  return options.to_format == TokenFormat::megatron ? write_megatron(options) : write_u16(options);
}

}  // namespace tessera
