// SPDX-License-Identifier: Apache-2.0
// A GPU's threads on one thread of the host, so that kernels can be held against their references
// where there is no GPU. The threads of a block are fibers: each runs until it waits for the others
// (__syncthreads, a shuffle, a matrix product of its warp), then the next one does; a warp runs as
// far ahead of the others as it may. Blocks run one after another.
//
// What it finds that a plain loop would not: shared memory that is read before it was written (it
// is poisoned before each block), a barrier that not all threads reach (Error), a barrier that is
// missing (results then depend on the order of threads: run in the orders below and compare),
// shared memory beyond what the launch asked for and global memory beyond its buffer
// (AddressSanitizer), copies that are read before they were waited for, and copies to where others
// still read (the place is poisoned when a copy starts, and the copy happens when it is waited
// for). What it cannot find: speed, and hardware that does other than its manual says.
//
// Environment: CUDA_ON_HOST_ORDER = forward (default), reverse or shuffled: of threads and blocks.
// Thread-safe: launches of several host threads run one after another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

// Of the fiber that runs.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace cuda_on_host {

inline constexpr int kWarp = 32;
inline constexpr size_t kMostShared = 227 << 10;  // of a block on sm_90
inline constexpr size_t kMostExchanged = 32;      // bytes of a lane

// Runs `kernel` once for each thread of each block; throws tessera::Error where threads wait for
// each other for ever or a launch is beyond the limits of sm_90.
void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& kernel);

// Called by fibers.
std::byte* shared_memory();
void synchronize_block();
int lane();
[[noreturn]] void give_up(const char* why);  // the launch throws Error{internal}

// What all lanes of the calling warp brought to the operation `kind`, lane after lane,
// kMostExchanged bytes each; valid until the warp's next operation but one.
enum class Kind : int { shuffle, vote, matrix, barrier };
const std::byte* exchange(Kind kind, const void* mine, size_t bytes);

// Copies that happen when the thread waits for them: of all groups but the newest `left`.
void copy_later(void* to, const void* from, size_t bytes, size_t zeros);
void close_group();
void wait_for_groups(int left);

}  // namespace cuda_on_host
