// SPDX-License-Identifier: Apache-2.0
#include "parallel/watchdog.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include <unistd.h>

#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "parallel/world.h"

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

struct State {
  std::mutex mutex;
  bool waiting = false;
  std::string what;
  const Awaited* awaited = nullptr;
  Clock::time_point since;
  int64_t number = 0;  // of collectives so far
  std::atomic<double> timeout{0};
  bool running = false;
  std::vector<Overseen*> overseen;
};

State& state() {
  static State& only = *new State;
  return only;
}

// Who has not arrived, where that is known.
std::string missing_ranks() {
  const std::string ranks = state().awaited ? state().awaited->missing() : "";
  return ranks.empty() ? "the other ranks" : ranks;
}

// Never through MPI or NCCL: it may be what hangs.
[[noreturn]] void stop(const std::string& why) {
  log::error(why + "; stopping with exit code 7, a restart continues from the newest checkpoint");
  log::flush();
  _exit(exit_code(ErrorKind::peer));
}

void look_at_overseen(double timeout) {
  for (Overseen* each : state().overseen)
    if (const std::string trouble = each->trouble(timeout); !trouble.empty()) stop(trouble);
}

void watch_for_ever() {
  for (;;) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const double timeout = state().timeout.load();
    const std::lock_guard lock(state().mutex);
    if (timeout <= 0) continue;
    look_at_overseen(timeout);
    if (!state().waiting) continue;
    const double waited = std::chrono::duration<double>(Clock::now() - state().since).count();
    if (waited < timeout) continue;
    stop(state().what + " #" + std::to_string(state().number) + " waited " +
         std::to_string(static_cast<int64_t>(waited)) + " s for " + missing_ranks() +
         " (on_failure.hang_timeout)");
  }
}

}  // namespace

void set_hang_timeout(double seconds) {
  state().timeout = seconds;
  const std::lock_guard lock(state().mutex);
  if (seconds > 0 && !state().running) {
    state().running = true;
    std::thread(watch_for_ever).detach();
  }
}

Watched::Watched(const std::string& group, const char* operation, const char* tag, int64_t bytes,
                 const Awaited* awaited)
    : range_("comm", [&] { return std::string(operation) + " " + group + " " + tag; }) {
  const std::lock_guard lock(state().mutex);
  ++state().number;
  state().waiting = true;
  state().since = Clock::now();
  state().awaited = awaited;
  if (state().timeout <= 0) return;
  state().what = std::string(operation) + " (group " + group + ", " + std::to_string(bytes) +
                 " bytes" + (*tag ? std::string(", ") + tag : std::string()) + ")";
}

Watched::~Watched() {
  const std::lock_guard lock(state().mutex);
  state().waiting = false;
  state().awaited = nullptr;
}

void Overseen::watch() {
  const std::lock_guard lock(state().mutex);
  state().overseen.push_back(this);
}

void Overseen::unwatch() {
  const std::lock_guard lock(state().mutex);
  std::erase(state().overseen, this);
}

}  // namespace tessera
