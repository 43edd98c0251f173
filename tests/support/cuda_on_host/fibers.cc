// SPDX-License-Identifier: Apache-2.0
#include "fibers.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "kernels/base/check.h"
#include "sanitizer.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_on_host {
namespace {

constexpr size_t kStack = size_t{96} << 10;
constexpr int kPoison = 0xff;  // not a number in every floating type

struct LaterCopy {
  void* to;
  const void* from;
  size_t bytes, zeros;
};

// Counts arrivals for ever: the n-th meeting is over when n times its size have come.
struct Meeting {
  int64_t arrivals = 0;
};

struct Warp {
  Meeting meeting;
  int64_t size = 0;
  Kind kind[2] = {};
  alignas(64) std::byte brought[2][kWarp][kMostExchanged];
};

struct Fiber {
  void* stack_pointer = nullptr;
  uint3 index{};
  Warp* warp = nullptr;
  int lane = 0;
  int64_t warp_meetings = 0, block_meetings = 0;
  const Meeting* waits_for = nullptr;
  int64_t until = 0;
  bool done = false;
  std::vector<std::vector<LaterCopy>> groups;
  std::vector<LaterCopy> open_group;

  bool ready() const { return waits_for == nullptr || waits_for->arrivals >= until; }
};

// Everything of the block that runs.
struct Block {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Meeting meeting;
  Fiber* current = nullptr;
  void* scheduler = nullptr;  // stack pointer
  const std::function<void()>* kernel = nullptr;
  const char* failure = nullptr;
};
Block block;
alignas(1024) std::byte shared[kMostShared];

// Saves the registers that a function must keep, changes stacks, takes the others' back.
[[gnu::naked, gnu::noinline]] void change_stack(void** /*save*/, void* /*to*/) {
  asm volatile(
      "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
      "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
      "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
}

void yield() {
  change_stack(&block.current->stack_pointer, block.scheduler);
}

void wait(const Meeting& meeting, int64_t until) {
  if (meeting.arrivals >= until) return;
  block.current->waits_for = &meeting;
  block.current->until = until;
  yield();
  block.current->waits_for = nullptr;
}

[[noreturn]] void fiber_main() {
  (*block.kernel)();
  block.current->done = true;
  yield();
  std::abort();  // nobody resumes a fiber that is done
}

std::byte* stack_of(size_t fiber) {
  static std::vector<std::byte*> stacks;
  while (stacks.size() <= fiber) {
    void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    tessera::check(stack != MAP_FAILED, "no room for the stack of a fiber");
    stacks.push_back(static_cast<std::byte*>(stack));
  }
  return stacks[fiber];
}

// A stack from which change_stack() returns into fiber_main.
void* fresh_stack(size_t fiber) {
  open(stack_of(fiber), kStack);  // a fiber before may have been left in the middle
  auto* top = reinterpret_cast<void**>(stack_of(fiber) + kStack);
  *--top = nullptr;  // fiber_main's return address: alignment as after a call
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int saved = 0; saved < 6; ++saved) *--top = nullptr;
  return top;
}

// The order in which `count` blocks, warps or lanes get their turns.
std::vector<size_t> turns(size_t count) {
  const char* const wanted = std::getenv("CUDA_ON_HOST_ORDER");
  const std::string order = wanted == nullptr ? "forward" : wanted;
  std::vector<size_t> turns(count);
  std::iota(turns.begin(), turns.end(), size_t{0});
  if (order == "reverse") std::reverse(turns.begin(), turns.end());
  uint64_t state = 88172645463325252u;
  for (size_t i = count; order == "shuffled" && i > 1; --i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    std::swap(turns[i - 1], turns[(state >> 33) % i]);
  }
  return turns;
}

void prepare_block(dim3 size) {
  const size_t threads = size_t{size.x} * size.y * size.z;
  block.fibers.assign(threads, {});
  block.warps.assign((threads + kWarp - 1) / kWarp, {});
  block.meeting = {};
  block.failure = nullptr;
  for (size_t t = 0; t < threads; ++t) {
    Fiber& fiber = block.fibers[t];
    fiber.stack_pointer = fresh_stack(t);
    fiber.index = {static_cast<unsigned>(t % size.x), static_cast<unsigned>(t / size.x % size.y),
                   static_cast<unsigned>(t / size.x / size.y)};
    fiber.warp = &block.warps[t / kWarp];
    fiber.lane = static_cast<int>(t % kWarp);
    ++fiber.warp->size;
  }
}

// Gives every lane of a warp that can go on a turn; how many there were.
int64_t run_lanes(size_t warp, const std::vector<size_t>& lanes, size_t& left) {
  int64_t moved = 0;
  for (const size_t lane : lanes) {
    const size_t thread = warp * kWarp + lane;
    if (thread >= block.fibers.size()) continue;
    Fiber& fiber = block.fibers[thread];
    if (fiber.done || !fiber.ready()) continue;
    ++moved;
    block.current = &fiber;
    threadIdx = fiber.index;
    change_stack(&block.scheduler, fiber.stack_pointer);
    tessera::check(block.failure == nullptr, block.failure == nullptr ? "" : block.failure);
    if (fiber.done) --left;
  }
  return moved;
}

// A warp goes on until it has to wait for others: so it runs as far ahead of them as it may.
void run_block(const std::vector<size_t>& warps, const std::vector<size_t>& lanes) {
  size_t left = block.fibers.size();
  while (left > 0) {
    bool moved = false;
    for (const size_t warp : warps)
      while (run_lanes(warp, lanes, left) > 0) moved = true;
    tessera::check(moved, "a kernel's threads wait for each other for ever: a barrier or a warp's",
                   "operation that not all of them reach; threads left:", left);
  }
}

}  // namespace

void run(dim3 grid, dim3 size, size_t shared_bytes, const std::function<void()>& kernel) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  tessera::check(size.x * size.y * size.z <= 1024, "more than 1024 threads in a block");
  tessera::check(grid.y <= 65535 && grid.z <= 65535, "a grid of more than 65535 in y or z");
  tessera::check(shared_bytes <= kMostShared, "more shared memory than there is:", shared_bytes);
  gridDim = grid;
  blockDim = size;
  block.kernel = &kernel;
  const std::vector<size_t> lanes = turns(kWarp);
  const std::vector<size_t> warps = turns((size_t{size.x} * size.y * size.z + kWarp - 1) / kWarp);
  for (const size_t turn : turns(size_t{grid.x} * grid.y * grid.z)) {
    blockIdx = {static_cast<unsigned>(turn % grid.x), static_cast<unsigned>(turn / grid.x % grid.y),
                static_cast<unsigned>(turn / grid.x / grid.y)};
    open(shared, kMostShared);
    std::memset(shared, kPoison, shared_bytes);
    close(shared + shared_bytes, kMostShared - shared_bytes);
    prepare_block(size);
    run_block(warps, lanes);
  }
}

// Not by an exception: it could not leave the fiber's stack. The scheduler throws.
void give_up(const char* why) {
  block.failure = why;
  yield();
  std::abort();  // nobody resumes it
}

std::byte* shared_memory() {
  return shared;
}

int lane() {
  return block.current->lane;
}

void synchronize_block() {
  ++block.meeting.arrivals;
  const auto threads = static_cast<int64_t>(block.fibers.size());
  wait(block.meeting, ++block.current->block_meetings * threads);
}

const std::byte* exchange(Kind kind, const void* mine, size_t bytes) {
  Fiber& fiber = *block.current;
  Warp& warp = *fiber.warp;
  const auto side = static_cast<size_t>(fiber.warp_meetings & 1);
  if (warp.meeting.arrivals == fiber.warp_meetings * warp.size) warp.kind[side] = kind;
  if (warp.size != kWarp) give_up("a warp of fewer than 32 threads does something together");
  if (bytes > kMostExchanged) give_up("a warp exchanges more than a lane can bring");
  if (warp.kind[side] != kind) give_up("lanes of a warp meet in different operations");
  if (bytes > 0) std::memcpy(warp.brought[side][fiber.lane], mine, bytes);
  ++warp.meeting.arrivals;
  wait(warp.meeting, ++fiber.warp_meetings * warp.size);
  return warp.brought[side][0];
}

void copy_later(void* to, const void* from, size_t bytes, size_t zeros) {
  std::memset(to, kPoison, bytes + zeros);  // from now on it may arrive at any time
  block.current->open_group.push_back({to, from, bytes, zeros});
}

void close_group() {
  Fiber& fiber = *block.current;
  fiber.groups.push_back(std::move(fiber.open_group));
  fiber.open_group.clear();
}

void wait_for_groups(int left) {
  std::vector<std::vector<LaterCopy>>& groups = block.current->groups;
  for (; groups.size() > static_cast<size_t>(left); groups.erase(groups.begin()))
    for (const LaterCopy& copy : groups.front()) {
      if (copy.bytes > 0) std::memcpy(copy.to, copy.from, copy.bytes);
      if (copy.zeros > 0) std::memset(static_cast<std::byte*>(copy.to) + copy.bytes, 0, copy.zeros);
    }
}

}  // namespace cuda_on_host
