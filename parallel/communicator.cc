// SPDX-License-Identifier: Apache-2.0
#include "parallel/communicator.h"

#include <algorithm>
#include <cstring>

namespace tessera {
namespace {

// Texts travel as i32 words: every backend knows that type.
Tensor words(int64_t count) {
  return Tensor(Device{}, DType::i32, {count}, MemoryClass::communication);
}

int64_t words_for(size_t bytes) {
  return static_cast<int64_t>((bytes + 3) / 4);
}

}  // namespace

int64_t Communicator::all_reduce(int64_t value, Reduce op, const char* tag) {
  Stream host(Device{});
  const Tensor x(Device{}, DType::i64, {1}, MemoryClass::communication);
  *x.as<int64_t>() = value;
  all_reduce(host, x, x, op, tag);
  return *x.as<int64_t>();
}

std::string Communicator::broadcast(const std::string& text, int root, const char* tag) {
  Stream host(Device{});
  const int64_t length =
      all_reduce(rank() == root ? static_cast<int64_t>(text.size()) : 0, Reduce::max, tag);
  if (length == 0) return {};
  const Tensor buffer = words(words_for(static_cast<size_t>(length)));
  if (rank() == root) std::memcpy(buffer.data(), text.data(), text.size());
  broadcast(host, buffer, root, tag);
  return std::string(static_cast<const char*>(buffer.data()), static_cast<size_t>(length));
}

std::vector<std::string> Communicator::all_gather(const std::string& text, const char* tag) {
  Stream host(Device{});
  const Tensor length(Device{}, DType::i64, {1}, MemoryClass::communication);
  const Tensor lengths(Device{}, DType::i64, {size()}, MemoryClass::communication);
  *length.as<int64_t>() = static_cast<int64_t>(text.size());
  all_gather(host, length, Cut::even(size(), size()), lengths, tag);
  const int64_t* bytes = lengths.as<int64_t>();
  const int64_t widest = std::max<int64_t>(
      1, words_for(static_cast<size_t>(*std::max_element(bytes, bytes + size()))));
  const Tensor mine = words(widest), all = words(widest * size());
  std::memcpy(mine.data(), text.data(), text.size());
  all_gather(host, mine, Cut::even(all.size(), size()), all, tag);
  std::vector<std::string> texts;
  for (int peer = 0; peer < size(); ++peer) {
    const char* start = reinterpret_cast<const char*>(all.as<int32_t>() + peer * widest);
    texts.emplace_back(start, static_cast<size_t>(bytes[peer]));
  }
  return texts;
}

}  // namespace tessera
