// SPDX-License-Identifier: Apache-2.0
// How a rank sleeps until another rank of its node has news for it, whatever it waits for and in
// whichever group: one word a process, in shared memory, and a futex.
#pragma once

#include <atomic>
#include <cstdint>

namespace tessera {

struct alignas(64) Doorbell {
  std::atomic<uint32_t> rings{0};
  std::atomic<uint32_t> asleep{0};

  // Whoever wrote news first and rings then is heard: a sleeper wakes, and a rank about to sleep
  // does not.
  void ring();
};

// The pauses of a rank that waits. It first looks again a few times, where each rank has a core,
// and then sleeps: a spinning rank would keep the core that the other one needs.
class Patience {
 public:
  Patience(Doorbell& mine, bool crowded) : mine_(mine), crowded_(crowded) {}
  // Moves whatever can be moved (parallel/transport/progress.h); when nothing can, pauses until
  // there may be news.
  void pause();

 private:
  Doorbell& mine_;
  bool crowded_;  // fewer cores than ranks
  int idle_ = 0;
};

}  // namespace tessera
