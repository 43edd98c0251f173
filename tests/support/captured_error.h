// SPDX-License-Identifier: Apache-2.0
// Standard error through a pipe, which a full disk does not stop, until the object goes.
#pragma once

#include <string>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace tessera::test {

class CapturedError {
 public:
  CapturedError() : before_(::dup(STDERR_FILENO)) {
    if (::pipe(ends_) != 0) return;
    ::dup2(ends_[1], STDERR_FILENO);
    ::close(ends_[1]);
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  ~CapturedError() {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    go_away();
  }
  CapturedError(const CapturedError&) = delete;
  CapturedError& operator=(const CapturedError&) = delete;

  // Returns what has been written since the last call.
  std::string read() const {
    std::string text;
    char bytes[4096];
    for (ssize_t size; (size = ::read(ends_[0], bytes, sizeof bytes)) > 0;)
      text.append(bytes, static_cast<size_t>(size));
    return text;
  }
  // From now on there is no reader.
  void go_away() {
    const int end = std::exchange(ends_[0], -1);
    if (end >= 0) ::close(end);
  }

 private:
  int before_;
  int ends_[2] = {-1, -1};
};

}  // namespace tessera::test
