// SPDX-License-Identifier: Apache-2.0
#include "data/files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/mapping_guard.h"
#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;  // large enough that write() costs nothing

[[noreturn]] void cannot(ErrorKind kind, const char* what, const std::string& path) {
  fail(kind, "cannot", what, path + ":", std::strerror(errno));
}

// A descriptor that closes itself, for the paths that throw.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

void sync_directory_of(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const Descriptor directory{::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY)};
  if (directory.fd >= 0) ::fsync(directory.fd);  // some file systems refuse; nothing to do then
}

}  // namespace

MappedFile MappedFile::open(const std::string& path) {
  // A FIFO must not block us.
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
  if (file.fd < 0) cannot(ErrorKind::data, "open", path);
  struct stat status;
  if (::fstat(file.fd, &status) != 0) cannot(ErrorKind::data, "examine", path);
  check(S_ISREG(status.st_mode), ErrorKind::data,
        path + ": is no regular file (a directory, a pipe or a device); name a file on a disk");
  MappedFile mapped;
  mapped.path_ = path;
  mapped.size_ = static_cast<size_t>(status.st_size);
  if (mapped.size_ == 0) return mapped;  // an empty map is not allowed by mmap
  void* address = ::mmap(nullptr, mapped.size_, PROT_READ, MAP_SHARED, file.fd, 0);
  if (address == MAP_FAILED) {
    mapped.size_ = 0;
    cannot(ErrorKind::data, "map", path);
  }
  mapped.data_ = static_cast<const char*>(address);
  guard_mapping(address, mapped.size_, path);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  forget_mapping(data_);
  ::munmap(const_cast<char*>(data_), size_);
}

// NAME.tmp is a name that anybody can guess: what stands there (a link, the rest of a job that
// died) is removed, not written into.
PendingFile::PendingFile(std::string path) : path_(std::move(path)), tmp_(path_ + ".tmp") {
  ::unlink(tmp_.c_str());
  fd_ = ::open(tmp_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (fd_ < 0) cannot(ErrorKind::storage, "create", tmp_);
  struct stat status;
  if (::fstat(fd_, &status) != 0) cannot(ErrorKind::storage, "examine", tmp_);
  inode_ = status.st_ino;
  buffer_.reserve(kBufferBytes);
}

PendingFile::~PendingFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!published_ && is_ours()) ::unlink(tmp_.c_str());
}

void PendingFile::write(const void* data, size_t size) {
  const char* from = static_cast<const char*>(data);
  bytes_ += static_cast<int64_t>(size);
  while (size > 0) {
    const size_t part = std::min(size, kBufferBytes - buffer_.size());
    buffer_.insert(buffer_.end(), from, from + part);
    from += part;
    size -= part;
    if (buffer_.size() == kBufferBytes) flush();
  }
}

void PendingFile::flush() {
  size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t written = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) cannot(ErrorKind::storage, "write", tmp_);
    done += static_cast<size_t>(written);
  }
  buffer_.clear();
}

void PendingFile::finish() {
  if (fd_ < 0) return;
  flush();
  if (::fsync(fd_) != 0) cannot(ErrorKind::storage, "sync", tmp_);
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed != 0) cannot(ErrorKind::storage, "close", tmp_);
}

// Two writers of one NAME: the later one has the name NAME.tmp.
bool PendingFile::is_ours() const {
  struct stat status;
  return ::lstat(tmp_.c_str(), &status) == 0 && status.st_ino == inode_;
}

void PendingFile::publish() {
  finish();
  check(is_ours(), ErrorKind::storage, "cannot rename", tmp_ + ": another process writes",
        path_ + " at the same time");
  if (::rename(tmp_.c_str(), path_.c_str()) != 0) cannot(ErrorKind::storage, "rename", tmp_);
  published_ = true;
  sync_directory_of(path_);
}

std::string read_file(const std::string& path) {
  const MappedFile file = MappedFile::open(path);
  return std::string(file.text());
}

void write_file(const std::string& path, std::string_view text) {
  PendingFile file(path);
  file.write(text);
  file.publish();
}

void make_directories(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  check(!error, ErrorKind::storage, "cannot create the directory", path + ":", error.message());
}

}  // namespace tessera
