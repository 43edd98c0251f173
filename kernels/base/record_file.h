// SPDX-License-Identifier: Apache-2.0
// A RecordFile grows by whole records (lines, events). A record that cannot be written leaves
// nothing of itself behind, so that the next one, when there is room again, follows the last whole
// one. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

class RecordFile {
 public:
  // Opens or makes the file and appends to what is there. Error{storage} when it cannot be opened
  // for writing, or is a link, a FIFO or a directory.
  explicit RecordFile(const std::string& path);
  ~RecordFile();
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;

  // False when the record could not be written; reason() then has the system's words, and lost()
  // counts those records since one was written.
  bool append(std::string_view record);
  int64_t lost() const { return lost_; }
  const std::string& reason() const { return reason_; }
  const std::string& path() const { return path_; }

 private:
  bool failed(int64_t whole);

  std::string path_, reason_;
  int file_ = -1;
  int64_t lost_ = 0;
  int64_t torn_ = -1;  // a rest of a record that could not be cut off begins here; -1: none
};

}  // namespace tessera
