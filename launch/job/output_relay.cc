// SPDX-License-Identifier: Apache-2.0
#include "launch/job/output_relay.h"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tessera {
namespace {

bool write_all(int to, const char* data, ssize_t size) {
  while (size > 0) {
    const ssize_t done = write(to, data, static_cast<size_t>(size));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    data += done;
    size -= done;
  }
  return true;
}

void close_one(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

}  // namespace

OutputRelay::OutputRelay() {
  if (pipe2(ended_, O_CLOEXEC) != 0 || pipe2(out_, O_CLOEXEC) != 0 || pipe2(err_, O_CLOEXEC) != 0)
    close_output();
}

OutputRelay::~OutputRelay() {
  close_output();
  close_one(ended_[0]);
  close_one(ended_[1]);
}

void OutputRelay::close_output() {
  for (int* fd : {&out_[0], &out_[1], &err_[0], &err_[1]}) close_one(*fd);
}

void OutputRelay::become_output() const {
  if (err_[1] < 0) return;
  dup2(out_[1], STDOUT_FILENO);
  dup2(err_[1], STDERR_FILENO);
}

void OutputRelay::start() {
  if (err_[1] >= 0) {
    copier_ = fork();
    if (copier_ == 0) copy();
  }
  close_output();
}

// The signals that the supervisor waits for are blocked here as there, so that Ctrl-C does not cut
// off the job's last words. Without a reader the pipes are emptied all the same.
void OutputRelay::copy() const {
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  constexpr int kForOthers = 1000;  // ms
  for (const int fd : {out_[1], err_[1], ended_[1]}) close(fd);
  std::array<struct pollfd, 3> from = {
      {{out_[0], POLLIN, 0}, {err_[0], POLLIN, 0}, {ended_[0], 0, 0}}};
  std::array<bool, 2> good = {true, true};
  static std::array<char, 65536> bytes;
  while (from[0].fd >= 0 || from[1].fd >= 0) {
    const int events = poll(from.data(), from.size(), from[2].fd < 0 ? kForOthers : -1);
    if (events < 0 && errno == EINTR) continue;
    if (events <= 0) break;
    if (from[2].revents != 0) from[2].fd = -1;
    for (size_t i = 0; i < good.size(); ++i) {
      if (from[i].fd < 0 || from[i].revents == 0) continue;
      const ssize_t size = read(from[i].fd, bytes.data(), bytes.size());
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) from[i].fd = -1;
      if (good[i]) good[i] = write_all(i == 0 ? STDOUT_FILENO : STDERR_FILENO, bytes.data(), size);
    }
  }
  _exit(good[0] ? 0 : 1);
}

bool OutputRelay::finish() {
  close_one(ended_[1]);
  if (copier_ < 0) return true;
  int status = 0;
  while (waitpid(copier_, &status, 0) < 0 && errno == EINTR) {
  }
  copier_ = -1;
  return !WIFEXITED(status) || WEXITSTATUS(status) == 0;
}

}  // namespace tessera
