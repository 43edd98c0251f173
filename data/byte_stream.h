// SPDX-License-Identifier: Apache-2.0
// The bytes of an input file, decompressed on the way if it is gzip or zstd (told by its first
// bytes, not by its name; several members or frames in a row are one stream). byte_stream.cc is the
// only home of zlib and zstd.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace tessera {

class ByteStream {
 public:
  // Throws Error{data} naming the file, here and in read(), also for a truncated stream.
  explicit ByteStream(const std::string& path);
  ~ByteStream();

  size_t read(char* out, size_t size);  // 0: the end
  int64_t file_bytes() const;           // of the file itself, read so far
  std::string file_sha256();            // of the whole file; once, after the end

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tessera
