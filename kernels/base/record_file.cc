// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/record_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/check.h"

namespace tessera {

// O_NOFOLLOW refuses a link in the very call that opens, so that none can be put there in between;
// O_NONBLOCK keeps a FIFO from blocking us, neither when it is opened nor later.
RecordFile::RecordFile(const std::string& path) : path_(path) {
  file_ =
      ::open(path.c_str(),
             O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
  const int reason = errno;
  check(file_ >= 0 || reason != ELOOP, ErrorKind::storage,
        path + ": is a symbolic link and not written through; remove it");
  check(file_ >= 0, ErrorKind::storage, "cannot write", path + ":", std::strerror(reason));
  struct stat facts = {};
  if (::fstat(file_, &facts) == 0 && (S_ISREG(facts.st_mode) || S_ISCHR(facts.st_mode))) return;
  ::close(file_);
  fail(ErrorKind::storage, "cannot write", path + ": it is no regular file; move it away");
}

RecordFile::~RecordFile() {
  if (file_ >= 0) ::close(file_);
}

bool RecordFile::append(std::string_view record) {
  if (torn_ >= 0 && ::ftruncate(file_, torn_) != 0) return failed(torn_);
  torn_ = -1;
  const int64_t whole = ::lseek(file_, 0, SEEK_END);
  while (!record.empty()) {
    const ssize_t done = ::write(file_, record.data(), record.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return failed(whole);
    record.remove_prefix(static_cast<size_t>(done));
  }
  lost_ = 0;
  return true;
}

bool RecordFile::failed(int64_t whole) {
  reason_ = std::strerror(errno);
  ++lost_;
  torn_ = whole;
  if (whole < 0 || ::ftruncate(file_, whole) == 0) torn_ = -1;
  return false;
}

}  // namespace tessera
