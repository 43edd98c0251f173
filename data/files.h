// SPDX-License-Identifier: Apache-2.0
// Files as this room needs them: a read-only memory map, and an output that appears under its name
// only when it is complete (written beside it as NAME.tmp, synced, renamed).
//
// A file that cannot be read is Error{data}; one that cannot be written is Error{storage}. Both
// name the file and the system's reason.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// The bytes of a file, mapped. Movable; reading it is thread-safe.
// A file that is truncated while it is mapped ends the process with the exit code of Error{data}
// and the file's name (data/mapping_guard.h). What is no regular file is refused without waiting
// for it.
class MappedFile {
 public:
  MappedFile() = default;
  static MappedFile open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const char> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {data_, size_}; }
  int64_t size() const { return static_cast<int64_t>(size_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// Appends bytes to NAME.tmp. finish() syncs and closes it; publish() renames it to NAME. Without
// publish() the destructor removes it, and whatever stood at NAME before stays as it was.
class PendingFile {
 public:
  explicit PendingFile(std::string path);
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  ~PendingFile();

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void finish();
  void publish();  // finish() if not done yet, rename, sync the directory
  int64_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

 private:
  void flush();
  bool is_ours() const;
  std::string path_, tmp_;
  uint64_t inode_ = 0;  // of the file that tmp_ named when it was made
  std::vector<char> buffer_;
  int64_t bytes_ = 0;
  int fd_ = -1;
  bool published_ = false;
};

std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view text);  // whole or not at all
void make_directories(const std::string& path);

}  // namespace tessera
