// SPDX-License-Identifier: Apache-2.0
#include "data/byte_stream.h"

#include <cerrno>
#include <cstring>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "data/hash.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr size_t kChunk = size_t{1} << 20;
constexpr std::string_view kGzipMagic("\x1f\x8b"), kZstdMagic("\x28\xb5\x2f\xfd");
// Frames that a decoder skips: pzstd begins its files with one that tells the size of what follows.
bool is_skippable_frame(std::string_view head) {
  constexpr std::string_view kRest("\x2a\x4d\x18");
  return head.size() > kRest.size() && (head[0] & '\xf0') == '\x50' &&
         head.substr(1).starts_with(kRest);
}
constexpr int kAnyGzipWindow = 15 + 16;  // zlib's way to say: gzip, up to 32 KiB

}  // namespace

struct ByteStream::State {
  enum class Kind { plain, gzip, zstd };
  std::string path;
  int fd = -1;
  Kind kind = Kind::plain;
  Sha256 hash;
  int64_t file_bytes = 0;
  std::vector<char> chunk = std::vector<char>(kChunk);
  size_t begin = 0, end = 0;  // what is left of the chunk
  bool at_end = false;        // of the file
  bool inside = false;        // a member or frame has begun and not ended
  z_stream gzip{};
  ZSTD_DStream* zstd = nullptr;

  explicit State(const std::string& name) : path(name) {
    fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    check(fd >= 0, ErrorKind::data, "cannot open", path + ":", std::strerror(errno));
  }
  ~State() {
    if (fd >= 0) ::close(fd);
    if (kind == Kind::gzip) inflateEnd(&gzip);
    ZSTD_freeDStream(zstd);
  }

  void refill() {
    if (begin < end || at_end) return;
    ssize_t got;
    do got = ::read(fd, chunk.data(), chunk.size());
    while (got < 0 && errno == EINTR);
    check(got >= 0, ErrorKind::data, "cannot read", path + ":", std::strerror(errno));
    begin = 0;
    end = static_cast<size_t>(got);
    at_end = got == 0;
    hash.update(chunk.data(), end);
    file_bytes += got;
  }

  void recognise() {
    refill();
    const std::string_view head(chunk.data(), end);
    if (head.starts_with(kGzipMagic)) {
      check(inflateInit2(&gzip, kAnyGzipWindow) == Z_OK, ErrorKind::capacity, "zlib: no memory");
      kind = Kind::gzip;
    } else if (head.starts_with(kZstdMagic) || is_skippable_frame(head)) {
      zstd = ZSTD_createDStream();
      check(zstd != nullptr, ErrorKind::capacity, "zstd: no memory");
      kind = Kind::zstd;
    }
  }

  size_t read_gzip(char* out, size_t size) {
    gzip.next_in = reinterpret_cast<Bytef*>(chunk.data() + begin);
    gzip.avail_in = static_cast<uInt>(end - begin);
    gzip.next_out = reinterpret_cast<Bytef*>(out);
    gzip.avail_out = static_cast<uInt>(size);
    const int result = inflate(&gzip, Z_NO_FLUSH);
    begin = end - gzip.avail_in;
    inside = result != Z_STREAM_END;
    check(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR, ErrorKind::data,
          path + ": damaged gzip data:", gzip.msg != nullptr ? gzip.msg : "unknown error");
    if (result == Z_STREAM_END) inflateReset(&gzip);  // another member may follow
    return size - gzip.avail_out;
  }

  size_t read_zstd(char* out, size_t size) {
    ZSTD_inBuffer from{chunk.data(), end, begin};
    ZSTD_outBuffer to{out, size, 0};
    const size_t result = ZSTD_decompressStream(zstd, &to, &from);
    check(!ZSTD_isError(result), ErrorKind::data,
          path + ": damaged zstd data:", ZSTD_getErrorName(result));
    begin = from.pos;
    inside = result != 0;
    return to.pos;
  }

  size_t read(char* out, size_t size) {
    while (true) {
      refill();
      const size_t left = end - begin;
      if (kind == Kind::plain) {
        const size_t part = std::min(left, size);
        std::memcpy(out, chunk.data() + begin, part);
        begin += part;
        return part;
      }
      if (left == 0 && at_end && !inside) return 0;
      const size_t got = kind == Kind::gzip ? read_gzip(out, size) : read_zstd(out, size);
      if (got > 0) return got;
      check(left > 0 || !at_end, ErrorKind::data, path + ": the compressed data end too early;",
            "is the file truncated?");
    }
  }
};

ByteStream::ByteStream(const std::string& path) : state_(std::make_unique<State>(path)) {
  state_->recognise();
}
ByteStream::~ByteStream() = default;
size_t ByteStream::read(char* out, size_t size) {
  return state_->read(out, size);
}
int64_t ByteStream::file_bytes() const {
  return state_->file_bytes;
}
std::string ByteStream::file_sha256() {
  return state_->hash.hex();
}

}  // namespace tessera
