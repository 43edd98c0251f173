// SPDX-License-Identifier: Apache-2.0
#include "data/mapping_guard.h"

#include <atomic>
#include <cstdint>
#include <mutex>

#include <signal.h>
#include <unistd.h>

#include "kernels/base/check.h"

namespace tessera {

namespace {

// The guards are a list that only grows, since the handler may be walking along it. A place whose
// mapping is gone has an empty range and is used again. The message is complete beforehand: the
// handler may not allocate.
struct Guard {
  std::atomic<uintptr_t> begin{0}, end{0};
  bool used = true;  // guarded by the mutex
  std::string message;
  Guard* next = nullptr;
};

std::mutex mutex;
std::atomic<Guard*> guards{nullptr};
struct sigaction before = {};
bool installed = false;

// Only calls that are async-signal-safe are allowed here.
void on_bus_error(int, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Guard* each = guards.load(); each != nullptr; each = each->next) {
    if (at < each->begin || at >= each->end) continue;
    (void)!write(STDERR_FILENO, each->message.data(), each->message.size());
    _exit(exit_code(ErrorKind::data));
  }
  sigaction(SIGBUS, &before, nullptr);  // the access is made again, and is the former handler's
}

// REQUIRES mutex
void install() {
  if (installed) return;
  installed = true;
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGBUS, &action, &before);
}

// REQUIRES mutex
Guard& free_place() {
  for (Guard* each = guards.load(); each != nullptr; each = each->next)
    if (!each->used) return *each;
  auto* made = new Guard;
  made->next = guards.load();
  guards = made;
  return *made;
}

}  // namespace

void guard_mapping(const void* begin, size_t bytes, const std::string& path) {
  const std::lock_guard lock(mutex);
  install();
  Guard& place = free_place();
  place.used = true;
  place.message = "error: " + path +
                  ": became shorter, or could not be read from its disk, while it was in use; "
                  "restore it, then start again (a run goes on from its newest checkpoint)\n";
  place.begin = reinterpret_cast<uintptr_t>(begin);
  place.end = place.begin + bytes;
}

void forget_mapping(const void* begin) {
  const std::lock_guard lock(mutex);
  for (Guard* each = guards.load(); each != nullptr; each = each->next) {
    if (each->begin != reinterpret_cast<uintptr_t>(begin)) continue;
    each->end = 0;
    each->begin = 0;
    each->used = false;
  }
}

}  // namespace tessera
