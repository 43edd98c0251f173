// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/doorbell.h"

#include <climits>
#include <ctime>

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "parallel/transport/progress.h"

namespace tessera {
namespace {

// Looks of about 0.1 us each: longer than a round of a small collective, shorter than a sleep.
constexpr int kLooks = 500;
constexpr timespec kLongestSleep = {1, 0};

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value, const timespec* timeout) {
  static_assert(sizeof word == sizeof(uint32_t) && std::atomic<uint32_t>::is_always_lock_free);
  syscall(SYS_futex, &word, operation, value, timeout, nullptr, 0);
}

}  // namespace

// Both sides write one word and then read the other's, in one total order: the ringer sees a
// sleeper, or the sleeper sees the ring.
void Doorbell::ring() {
  rings.fetch_add(1, std::memory_order_seq_cst);
  if (asleep.load(std::memory_order_seq_cst) != 0) futex(rings, FUTEX_WAKE, INT_MAX, nullptr);
}

void Patience::pause() {
  if (progress_everything()) {
    idle_ = 0;
    return;
  }
  if (anything_must_be_polled()) {
    sched_yield();
    return;
  }
  if (!crowded_ && ++idle_ < kLooks) return;
  mine_.asleep.store(1, std::memory_order_seq_cst);
  const uint32_t ticket = mine_.rings.load(std::memory_order_seq_cst);
  if (!progress_everything()) futex(mine_.rings, FUTEX_WAIT, ticket, &kLongestSleep);
  mine_.asleep.store(0, std::memory_order_relaxed);
}

}  // namespace tessera
