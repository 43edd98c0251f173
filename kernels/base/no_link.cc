// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/no_link.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/base/check.h"

namespace tessera {

// O_NONBLOCK is given because opening a FIFO would wait for its reader.
NoLink::NoLink(const std::string& path)
    : file_(::open(path.c_str(),
                   O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666)) {
  const int reason = errno;
  check(file_ >= 0 || reason != ELOOP, ErrorKind::storage,
        path + ": is a symbolic link and not written through; remove it");
  check(file_ >= 0, ErrorKind::storage, "cannot write " + path + ":", std::strerror(reason));
  struct stat status {};
  const bool regular = ::fstat(file_, &status) == 0 && S_ISREG(status.st_mode);
  if (regular) return;
  ::close(file_);
  fail(ErrorKind::storage, path + ": is no regular file and not written into; remove it");
}

NoLink::~NoLink() {
  ::close(file_);
}

std::string NoLink::name() const {
  return "/proc/self/fd/" + std::to_string(file_);
}

}  // namespace tessera
