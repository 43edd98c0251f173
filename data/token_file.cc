// SPDX-License-Identifier: Apache-2.0
#include "data/token_file.h"

#include <cstring>
#include <filesystem>
#include <limits>
#include <utility>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr std::string_view kMagic("MMIDIDX\0\0", 9);
constexpr int64_t kHeaderBytes = 34;
constexpr int64_t kBytesPerSequence = 12;  // i32 length + i64 offset

// The tables follow an odd-sized header, so nothing in them is aligned.
template <typename T>
T load(const char* bytes, int64_t index = 0) {
  T value;
  std::memcpy(&value, bytes + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

int bytes_of_dtype(int code) {
  switch (code) {
    case 1:
    case 2: return 1;
    case 3:
    case 8: return 2;
    case 4: return 4;
    case 5: return 8;
    default: return 0;  // 6 and 7 are floats
  }
}

// Sizes of the two tables, checked so that nothing overflows whatever the header says.
void check_sizes(const std::string& path, int64_t size, uint64_t sequences, uint64_t entries) {
  const auto room = static_cast<uint64_t>(size - kHeaderBytes);
  check(sequences <= room / kBytesPerSequence, ErrorKind::data, path + ": says", sequences,
        "sequences, too many for a file of", size, "bytes; is it truncated?");
  const uint64_t left = room - sequences * kBytesPerSequence;
  check(entries >= 1 && entries <= left / 8, ErrorKind::data, path + ": says", entries,
        "document entries, but there is room for", left / 8, "(at least 1 is needed)");
  check(entries * 8 == left, ErrorKind::data, path + ": has", left - entries * 8,
        "bytes after the document table (multimodal modes are not supported)");
}

}  // namespace

TokenIndex parse_token_index(const std::string& path, std::span<const char> idx,
                             int64_t bin_bytes) {
  const auto size = static_cast<int64_t>(idx.size());
  check(size >= kHeaderBytes, ErrorKind::data, path + ": has", size,
        "bytes, but the header alone has", kHeaderBytes);
  const char* bytes = idx.data();
  check(std::string_view(bytes, kMagic.size()) == kMagic, ErrorKind::data,
        path + ": does not begin with MMIDIDX: not an indexed dataset");
  const auto version = load<uint64_t>(bytes + 9);
  check(version == 1, ErrorKind::data, path + ": version is", version, "but must be 1");

  TokenIndex index;
  index.dtype_code = static_cast<unsigned char>(bytes[17]);
  index.token_bytes = bytes_of_dtype(index.dtype_code);
  check(index.token_bytes > 0, ErrorKind::data, path + ": element type code is", index.dtype_code,
        "but tokens are 1 u8, 2 i8, 3 i16, 4 i32, 5 i64 or 8 u16");
  const auto sequences = load<uint64_t>(bytes + 18), entries = load<uint64_t>(bytes + 26);
  check_sizes(path, size, sequences, entries);
  index.num_sequences = static_cast<int64_t>(sequences);
  index.num_documents = static_cast<int64_t>(entries) - 1;
  index.lengths = bytes + kHeaderBytes;
  index.offsets = index.lengths + 4 * index.num_sequences;
  index.documents = index.offsets + 8 * index.num_sequences;

  int64_t end = 0;  // of the sequences so far, in bytes; stays <= bin_bytes
  for (int64_t s = 0; s < index.num_sequences; ++s) {
    const int64_t length = load<int32_t>(index.lengths, s),
                  offset = load<int64_t>(index.offsets, s);
    check(length >= 0, ErrorKind::data, path + ": sequence", s, "has length", length);
    check(offset == end, ErrorKind::data, path + ": sequence", s, "begins at byte", offset,
          "of the .bin file, but the one before ends at", end);
    check(length <= (bin_bytes - end) / index.token_bytes, ErrorKind::data, path + ": sequence", s,
          "ends beyond the .bin file, which has", bin_bytes, "bytes; is the .bin file truncated?");
    end += length * index.token_bytes;
  }
  check(end == bin_bytes, ErrorKind::data, path + ": describes", end,
        "bytes of tokens, but the .bin file has", bin_bytes);
  for (int64_t d = 0, last = 0; d <= index.num_documents; ++d) {
    const auto boundary = load<int64_t>(index.documents, d);
    const bool valid = d == 0 ? boundary == 0 : boundary >= last && boundary <= index.num_sequences;
    check(valid, ErrorKind::data, path + ": document entry", d, "is", boundary,
          "but entries begin at 0, never fall and end at", index.num_sequences);
    check(d < index.num_documents || boundary == index.num_sequences, ErrorKind::data,
          path + ": the last document ends at sequence", boundary, "of", index.num_sequences);
    last = boundary;
  }
  return index;
}

TokenFile TokenFile::open(const std::string& prefix) {
  TokenFile file;
  file.prefix_ = prefix;
  const bool there = std::filesystem::exists(prefix + ".idx");
  check(there, ErrorKind::data, "no token file at", prefix + ":", prefix + ".idx",
        "does not exist. `tessera data prepare` writes PREFIX.bin, PREFIX.idx and PREFIX.json; "
        "name the PREFIX");
  file.bin_ = MappedFile::open(prefix + ".bin");
  file.idx_ = MappedFile::open(prefix + ".idx");
  file.index_ = parse_token_index(prefix + ".idx", file.idx_.bytes(), file.bin_.size());
  file.num_tokens_ = file.bin_.size() / file.index_.token_bytes;

  const std::string json = prefix + ".json";
  if (!std::filesystem::exists(json)) {
    file.info_.tokens = file.num_tokens_;
    file.info_.documents = file.num_documents();
    return file;
  }
  file.info_ = parse_token_file_info(json, read_file(json));
  check(file.info_.tokens == file.num_tokens_ && file.info_.documents == file.num_documents(),
        ErrorKind::data, json + ": says", file.info_.tokens, "tokens in", file.info_.documents,
        "documents, but the token file has", file.num_tokens_, "in", file.num_documents(),
        "- files of two runs mixed up? Run data prepare again");
  return file;
}

int64_t TokenFile::token(int64_t index) const {
  check(index >= 0 && index < num_tokens_, "token index out of range:", index, num_tokens_);
  const char* bytes = bin_.bytes().data();
  switch (index_.dtype_code) {
    case 1: return load<uint8_t>(bytes, index);
    case 2: return load<int8_t>(bytes, index);
    case 3: return load<int16_t>(bytes, index);
    case 4: return load<int32_t>(bytes, index);
    case 5: return load<int64_t>(bytes, index);
    default: return load<uint16_t>(bytes, index);
  }
}

void TokenFile::read(int64_t first, int64_t count, int32_t* out) const {
  check(first >= 0 && count >= 0 && first <= num_tokens_ - count, "tokens out of range:", first,
        count, num_tokens_);
  const char* bytes = bin_.bytes().data();
  if (index_.dtype_code == 8) {  // the usual two kinds, without a branch per token
    for (int64_t i = 0; i < count; ++i) out[i] = load<uint16_t>(bytes, first + i);
  } else if (index_.dtype_code == 4) {
    if (count > 0) std::memcpy(out, bytes + 4 * first, static_cast<size_t>(4 * count));
  } else {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t id = token(first + i);
      check(std::in_range<int32_t>(id), ErrorKind::data, bin_path() + ": token", first + i, "is",
            id, "which is no token id");
      out[i] = static_cast<int32_t>(id);
    }
  }
}

int64_t TokenFile::document_begin(int64_t document) const {
  check(document >= 0 && document <= num_documents(), "document out of range:", document,
        num_documents());
  const auto sequence = load<int64_t>(index_.documents, document);
  if (sequence == index_.num_sequences) return num_tokens_;
  return load<int64_t>(index_.offsets, sequence) / index_.token_bytes;
}

int64_t TokenFile::document_of(int64_t token_index) const {
  check(token_index >= 0 && token_index < num_tokens_, "token index out of range:", token_index,
        num_tokens_);
  int64_t low = 0, high = num_documents();  // begin(low) <= token_index < begin(high)
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (document_begin(middle) <= token_index ? low : high) = middle;
  }
  return low;
}

}  // namespace tessera
