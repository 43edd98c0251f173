// SPDX-License-Identifier: Apache-2.0
#include "launch/job/signals.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

namespace tessera {
namespace {

constexpr std::array kStopSignals = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
constexpr int64_t kOneRequest = 200'000'000;  // ns

std::atomic<int64_t> first_at{0};  // ns of the monotonic clock; 0: none has arrived
std::atomic<int> first_number{0};
std::array<struct sigaction, kStopSignals.size()> before = {};
struct sigaction pipe_before = {};
bool held = false;

int64_t now() {
  struct timespec time = {};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{1'000'000'000} * time.tv_sec + time.tv_nsec;
}

// Two threads may be in here at once, and only calls that are async-signal-safe are allowed.
void on_signal(int number) {
  const int64_t at = now();
  int64_t first = 0;
  if (first_at.compare_exchange_strong(first, at))
    first_number = number;
  else if (at - first > kOneRequest)
    _exit(128 + number);
}

// Reading from what is opened here and writing to it fails, as with a closed descriptor: an exit
// code tells what could not be printed.
void open_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

}  // namespace

void hold_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < kStopSignals.size(); ++i) {
    sigaction(kStopSignals[i], nullptr, &before[i]);
    if (before[i].sa_handler != SIG_IGN) sigaction(kStopSignals[i], &action, nullptr);
  }
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &pipe_before);
  held = true;
  open_standard_descriptors();
}

void release_stop_signals() {
  if (!held) return;
  held = false;
  for (size_t i = 0; i < kStopSignals.size(); ++i) sigaction(kStopSignals[i], &before[i], nullptr);
  sigaction(SIGPIPE, &pipe_before, nullptr);
  if (stop_signalled()) raise(first_number);
}

bool stop_signalled() {
  return first_at != 0;
}

int first_stop_signal() {
  return first_number;
}

}  // namespace tessera
