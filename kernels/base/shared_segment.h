// SPDX-License-Identifier: Apache-2.0
// Memory that processes of one node and one user share. It has no name in any file system and
// vanishes with the last process that maps it, however that process ends. All of it is allocated
// when it is made: lack of room is an Error then and never a SIGBUS later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tessera {

class SharedSegment {
 public:
  // Zeros. Throws Error{capacity} when there is no room.
  static SharedSegment create(int64_t bytes);
  // The segment whose path() another process told. Throws Error{capacity} when it cannot be had
  // (another user, another container).
  static SharedSegment open(const std::string& path, int64_t bytes);
  SharedSegment(SharedSegment&& other) noexcept;
  SharedSegment& operator=(SharedSegment&&) = delete;
  ~SharedSegment();

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Asks for pages of 2 MiB, of which another process maps megabytes in microseconds where small
  // ones cost more than copying what they hold. All of it counts as this process's from then on. A
  // wish: before Linux 6.1 nothing happens.
  void use_huge_pages();
  int file() const { return file_; }  // of this process
  std::string path() const;           // for open(), until close_path()
  void close_path();

 private:
  SharedSegment(int file, int64_t bytes);
  int file_;
  int64_t bytes_;
  std::byte* data_;
};

}  // namespace tessera
