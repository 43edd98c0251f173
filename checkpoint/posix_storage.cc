// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "checkpoint/storage.h"
#include "kernels/base/check.h"
#include "parallel/section.h"

namespace tessera {
namespace {

constexpr mode_t kFileMode = 0640, kDirectoryMode = 0750;
// Dirty bytes after which the kernel is asked to start writing, so that the disk is busy while the
// next blocks are summed and copied, and the final sync finds little left to do.
constexpr int64_t kWritebackBytes = int64_t{8} << 20;

const char* remedy(int code) {
  switch (code) {
    case ENOSPC: return "; free some space there, or keep fewer checkpoints (checkpoint.keep)";
    case EDQUOT: return "; your quota there is used up";
    case EFBIG: return "; a file size limit is set (ulimit -f)";
    case EROFS: return "; the file system is mounted read-only";
    case EACCES:
    case EPERM: return "; check who owns it and its permissions";
    default: return "";
  }
}

[[noreturn]] void fail_errno(const std::string& path, const char* action, int code = errno) {
  fail(ErrorKind::storage, path + ": " + action + " failed: " + std::strerror(code) + " (errno " +
                               std::to_string(code) + ")" + remedy(code));
}

template <typename Call>
auto retried(Call&& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, mode_t mode, const char* action) : path_(path) {
    const Activity activity("opening", path);
    fd_ = retried([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
    if (fd_ < 0) fail_errno(path, action);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return fd_; }
  const std::string& path() const { return path_; }
  void close() {
    const int fd = fd_;
    fd_ = -1;  // Linux frees the number even when close fails
    const Activity activity("closing", path_);
    if (::close(fd) != 0 && errno != EINTR) fail_errno(path_, "closing");
  }

 private:
  std::string path_;
  int fd_;
};

class PosixOutput : public OutputFile {
 public:
  explicit PosixOutput(const std::string& path)
      : file_(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, kFileMode, "creating") {}

  // Not posix_fallocate: it emulates by writing every block where the file system cannot.
  void allocate(int64_t bytes) override {
    if (bytes == 0) return;
    const Activity activity("reserving room for", file_.path());
    if (retried([&] { return ::fallocate(file_, 0, 0, bytes); }) == 0) return;
    if (errno != EOPNOTSUPP && errno != ENOSYS) fail_errno(file_.path(), "reserving room");
    struct statvfs room {};
    if (::fstatvfs(file_, &room) == 0 &&
        static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize) <
            static_cast<double>(bytes))
      fail_errno(file_.path(), "reserving room", ENOSPC);
    if (retried([&] { return ::ftruncate(file_, bytes); }) != 0)
      fail_errno(file_.path(), "setting the size");
  }

  void write(int64_t offset, const void* data, int64_t bytes) override {
    const Activity activity("writing", file_.path());
    const char* next = static_cast<const char*>(data);
    const int64_t end = offset + bytes;
    for (int64_t at = offset; at < end;) {
      const ssize_t done =
          retried([&] { return ::pwrite(file_, next, static_cast<size_t>(end - at), at); });
      if (done < 0) fail_errno(file_.path(), "writing");
      if (done == 0) fail_errno(file_.path(), "writing", ENOSPC);
      next += done;
      at += done;
    }
    start_writeback(offset, end);
  }

  void sync() override {
    const Activity activity("syncing", file_.path());
    if (::fsync(file_) != 0) fail_errno(file_.path(), "syncing");
  }
  void close() override { file_.close(); }

 private:
  void start_writeback(int64_t begin, int64_t end) {
    if (begin != dirty_end_) dirty_begin_ = begin;
    dirty_end_ = end;
    if (dirty_end_ - dirty_begin_ < kWritebackBytes) return;
    // Only a hint: whether the bytes arrived is sync()'s to tell.
    ::sync_file_range(file_, dirty_begin_, dirty_end_ - dirty_begin_, SYNC_FILE_RANGE_WRITE);
    dirty_begin_ = dirty_end_;
  }

  Descriptor file_;
  int64_t dirty_begin_ = 0, dirty_end_ = 0;  // one run of bytes written since the last hint
};

class PosixInput : public InputFile {
 public:
  explicit PosixInput(const std::string& path)
      : file_(path, O_RDONLY | O_NONBLOCK, 0, "opening") {  // a FIFO must not block us
    struct stat facts {};
    if (::fstat(file_, &facts) != 0) fail_errno(path, "looking at");
    check(S_ISREG(facts.st_mode), ErrorKind::checkpoint, path + ": is not a regular file");
    size_ = facts.st_size;
  }
  int64_t size() const override { return size_; }
  void read(int64_t offset, void* data, int64_t bytes) override {
    const Activity activity("reading", file_.path());
    char* next = static_cast<char*>(data);
    const int64_t end = offset + bytes;
    for (int64_t at = offset; at < end;) {
      const ssize_t done =
          retried([&] { return ::pread(file_, next, static_cast<size_t>(end - at), at); });
      if (done < 0) fail_errno(file_.path(), "reading");
      check(done > 0, ErrorKind::checkpoint, file_.path() + ": is damaged: it ends at byte", at,
            "but should go on to byte", end);
      next += done;
      at += done;
    }
  }

 private:
  Descriptor file_;
  int64_t size_ = 0;
};

// The names are sorted, and the stream is closed.
std::vector<std::string> names_in(DIR* stream, const std::string& directory) {
  if (stream == nullptr) fail_errno(directory, "listing");
  const std::unique_ptr<DIR, int (*)(DIR*)> closer(stream, ::closedir);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) fail_errno(directory, "listing");
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

PosixStorage::PosixStorage() {
  std::signal(SIGXFSZ, SIG_IGN);
}

std::unique_ptr<OutputFile> PosixStorage::create(const std::string& path) {
  return std::make_unique<PosixOutput>(path);
}

std::unique_ptr<InputFile> PosixStorage::open(const std::string& path) {
  return std::make_unique<PosixInput>(path);
}

bool PosixStorage::exists(const std::string& path) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) == 0) return true;
  if (errno != ENOENT && errno != ENOTDIR) fail_errno(path, "looking at");
  return false;
}

std::vector<std::string> PosixStorage::list(const std::string& directory) {
  const Activity activity("listing", directory);
  return names_in(::opendir(directory.c_str()), directory);
}

void PosixStorage::rename(const std::string& from, const std::string& to) {
  const Activity activity("renaming", from);
  if (::rename(from.c_str(), to.c_str()) != 0) fail_errno(from, ("renaming to " + to).c_str());
}

void PosixStorage::remove(const std::string& path) {
  const Activity activity("removing", path);
  if (::remove(path.c_str()) != 0) fail_errno(path, "removing");  // a link goes, its target stays
}

void PosixStorage::make_directory(const std::string& path) {
  const Activity activity("making the directory", path);
  if (::mkdir(path.c_str(), kDirectoryMode) != 0) fail_errno(path, "making the directory");
}

void PosixStorage::sync_directory(const std::string& path) {
  const Activity activity("syncing", path);
  const Descriptor directory(path, O_RDONLY | O_DIRECTORY, 0, "opening");
  // Some network file systems cannot sync a directory and say so; their renames are synchronous.
  if (retried([&] { return ::fsync(directory); }) != 0 && errno != EINVAL)
    fail_errno(path, "syncing");
}

bool PosixStorage::is_directory(const std::string& path) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) == 0) return S_ISDIR(facts.st_mode);
  if (errno != ENOENT && errno != ENOTDIR) fail_errno(path, "looking at");
  return false;
}

// Everything is done through one descriptor of the directory: a link that somebody puts in its
// place in the meantime is neither listed nor emptied.
void PosixStorage::remove_directory(const std::string& path, bool (*ours)(std::string_view),
                                    const char* mark) {
  if (!is_directory(path)) return remove(path);
  const Activity activity("removing", path);
  {
    const Descriptor directory(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, "opening");
    const int for_the_list = ::fcntl(directory, F_DUPFD_CLOEXEC, 0);
    if (for_the_list < 0) fail_errno(path, "opening");
    const std::vector<std::string> names = names_in(::fdopendir(for_the_list), path);
    check_removable(path, names, ours);
    const auto unlink = [&](const std::string& name) {
      if (::unlinkat(directory, name.c_str(), 0) != 0) fail_errno(path + "/" + name, "removing");
    };
    if (std::find(names.begin(), names.end(), mark) != names.end()) {
      unlink(mark);
      // Without this sync a power cut could bring the mark back after the data have gone.
      if (retried([&] { return ::fsync(directory); }) != 0 && errno != EINVAL)
        fail_errno(path, "syncing");
    }
    for (const std::string& name : names)
      if (name != mark) unlink(name);
  }
  if (::rmdir(path.c_str()) != 0) fail_errno(path, "removing");
}

int64_t PosixStorage::free_bytes(const std::string& path) {
  struct statvfs room {};
  if (::statvfs(path.c_str(), &room) != 0) return INT64_MAX;
  const double bytes = static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize);
  return bytes < 9e18 ? static_cast<int64_t>(bytes) : INT64_MAX;
}

}  // namespace tessera
