// SPDX-License-Identifier: Apache-2.0
// A hash table from a pair of token ids to a number: open addressing, no deletion. Merges look up a
// pair for every byte of text, and std::unordered_map is three times slower there.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {

using TokenPair = std::pair<int32_t, int32_t>;  // ids >= 0

template <typename Value>
class PairMap {
 public:
  PairMap() : slots_(kSmallest) {}

  // Null if the pair is not there.
  const Value* find(TokenPair pair) const {
    const Slot& slot = slots_[place(key_of(pair))];
    return slot.key == kEmpty ? nullptr : &slot.value;
  }

  // The value of the pair, made from Value{} if it was not there. A reference lives until the next
  // insertion.
  Value& operator[](TokenPair pair) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place(key_of(pair))];
    if (slot.key == kEmpty) {
      slot.key = key_of(pair);
      ++size_;
    }
    return slot.value;
  }

  size_t size() const { return size_; }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static constexpr size_t kSmallest = 16;
  struct Slot {
    uint64_t key = kEmpty;
    Value value{};
  };

  static uint64_t key_of(TokenPair pair) {
    return static_cast<uint64_t>(static_cast<uint32_t>(pair.first)) << 32 |
           static_cast<uint32_t>(pair.second);
  }

  size_t place(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    uint64_t mixed = key * 0x9E3779B97F4A7C15u;  // Fibonacci hashing, high bits folded down
    mixed ^= mixed >> 32;
    size_t at = mixed & mask;
    while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask;
    return at;
  }

  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (Slot& slot : old)
      if (slot.key != kEmpty) slots_[place(slot.key)] = std::move(slot);
  }

  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace tessera
