// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/thread_pool.h"

#include <atomic>
#include <thread>

#include <immintrin.h>

namespace tessera::cpu {
namespace {

// One word says it all: workers inside the loop, whether it is open to more, and its number.
constexpr uint32_t kInside = 0xfff;
constexpr uint32_t kOpen = 0x1000;
constexpr uint32_t kNumber = 0x2000;  // the step of the loop's number, in the bits above
constexpr int kSpins = 1000;          // about 20 us: the gap between two loops of a step is shorter

class ThreadPool {
 public:
  void run(int threads, int64_t tasks, void (*function)(void*, int64_t), void* context) {
    if (threads <= 1 || tasks <= 1 || busy_.exchange(true, std::memory_order_acquire)) {
      for (int64_t task = 0; task < tasks; ++task) function(context, task);
      return;
    }
    for (; workers_ < threads - 1; ++workers_) std::thread([this] { serve(); }).detach();
    function_ = function;
    context_ = context;
    tasks_ = tasks;
    next_.store(0, std::memory_order_relaxed);
    limit_.store(static_cast<uint32_t>(threads - 1), std::memory_order_relaxed);
    const uint32_t number = (state_.load(std::memory_order_relaxed) & ~(kInside | kOpen)) + kNumber;
    state_.store(number | kOpen, std::memory_order_release);
    state_.notify_all();
    work();
    uint32_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    wait_until(state, [](uint32_t now) { return (now & kInside) == 0; });
    busy_.store(false, std::memory_order_release);
  }

 private:
  void work() {
    for (int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;)
      function_(context_, task);
  }

  // Leaves in `state` the first value seen that is `good`.
  template <typename Good>
  void wait_until(uint32_t& state, Good good) {
    for (int spin = 0; !good(state); ++spin) {
      if (spin < kSpins)
        _mm_pause();
      else
        state_.wait(state, std::memory_order_acquire);
      state = state_.load(std::memory_order_acquire);
    }
  }

  [[noreturn]] void serve() {
    uint32_t last = 0;  // number of the last loop that I took part in
    const auto welcome = [&](uint32_t now) {
      return (now & kOpen) != 0 && (now & ~(kInside | kOpen)) != last &&
             (now & kInside) < limit_.load(std::memory_order_relaxed);
    };
    for (uint32_t state = state_.load(std::memory_order_acquire);;) {
      wait_until(state, welcome);
      // On failure `state` is the new value: perhaps the loop was closed meanwhile.
      if (!state_.compare_exchange_strong(state, state + 1, std::memory_order_acq_rel)) continue;
      last = state & ~(kInside | kOpen);
      work();
      state = state_.fetch_sub(1, std::memory_order_acq_rel) - 1;
      if ((state & (kOpen | kInside)) == 0) state_.notify_all();  // the caller may wait for me
    }
  }

  std::atomic<bool> busy_ = false;
  std::atomic<uint32_t> state_ = 0;
  std::atomic<uint32_t> limit_ = 0;
  std::atomic<int64_t> next_ = 0;
  // Written while no worker is inside.
  void (*function_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  int workers_ = 0;
};

}  // namespace

void run_tasks(int threads, int64_t tasks, void (*function)(void*, int64_t), void* context) {
  static ThreadPool& pool = *new ThreadPool;  // never destroyed: its threads live to the end
  pool.run(threads, tasks, function, context);
}

}  // namespace tessera::cpu
