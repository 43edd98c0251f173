// SPDX-License-Identifier: Apache-2.0
// The memory of the device that is not there: a range of addresses that ends the process whenever
// it is touched, but for the moments in which some Open lives. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace tessera::stand_in {

class Arena {
 public:
  explicit Arena(int64_t capacity);  // bytes that the device has

  std::byte* allocate(int64_t bytes);  // null: no room
  void release(std::byte* memory);
  int64_t capacity() const { return capacity_; }
  int64_t used() const;

 private:
  friend class Open;
  void open();
  void close();
  void protect(int64_t first, int64_t end, bool readable) const;

  int64_t capacity_;
  std::byte* base_;
  mutable std::mutex mutex_;
  int64_t end_ = 0;  // of what was handed out so far
  int64_t used_ = 0;
  int openers_ = 0;
  std::map<std::byte*, int64_t> sizes_;              // of blocks in use
  std::map<int64_t, std::vector<std::byte*>> free_;  // by size
};

class Open {
 public:
  explicit Open(Arena& arena) : arena_(arena) { arena_.open(); }
  ~Open() { arena_.close(); }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;

 private:
  Arena& arena_;
};

}  // namespace tessera::stand_in
