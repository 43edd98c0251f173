// SPDX-License-Identifier: Apache-2.0
// Files that cannot grow, as on a full disk: a limit of this process on the size of its files. A
// write that crosses the limit is cut there, like the last one that a disk takes.
#pragma once

#include <csignal>

#include <sys/resource.h>

namespace tessera::test {

class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const struct rlimit less = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &less);
  }
  ~FullDisk() { ::setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  struct rlimit before_ = {};
};

}  // namespace tessera::test
