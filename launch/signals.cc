// SPDX-License-Identifier: Apache-2.0
#include "launch/signals.h"

#include <atomic>

#include <signal.h>
#include <unistd.h>

namespace tessera {
namespace {

std::atomic<int> signals{0};

void on_signal(int number) {
  if (signals.fetch_add(1) > 0 && number == SIGTERM) _exit(128 + number);
}

}  // namespace

void install_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool stop_signalled() {
  return signals.load() > 0;
}

}  // namespace tessera
