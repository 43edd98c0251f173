// SPDX-License-Identifier: Apache-2.0
// Where the bytes of Buffers come from, and the book about them: one Pool for each kind of memory.
// Kept inside this folder. Thread-safe.
#pragma once

#include <mutex>

#include "kernels/base/buffer.h"

namespace tessera {

// Sizes are rounded up so that nearly equal requests share pooled memory: to 64 bytes below 4 KiB,
// then to one eighth of their power of two (at most 12.5 % waste).
int64_t rounded(int64_t bytes);
// What the host is asked for: large blocks of that size are whole huge pages.
int64_t padded(int64_t size);

// A GPU's blocks: large ones are allocations of their own, in the driver's pages; small ones are
// cut from slabs, of which each lane (thread_lane.h) has its own.
inline constexpr int64_t kLargeBlock = int64_t{1} << 20;
inline constexpr int64_t kSlab = int64_t{8} << 20;
int64_t gpu_block(int64_t bytes);

class Pool {
 public:
  virtual ~Pool() = default;
  virtual std::byte* take(int64_t bytes, MemoryClass memory_class) = 0;
  virtual void give(std::byte* block, int64_t bytes, MemoryClass memory_class) noexcept = 0;
  MemoryUse use();
  virtual void restart_peaks();

 protected:
  void count(MemoryClass memory_class, int64_t bytes);  // REQUIRES mutex_
  std::mutex mutex_;
  MemoryUse use_;
};

Pool& device_pool(int device);  // device_pool.cc: of an accelerator
Pool& pinned_pool();            // pinned_pool.cc
Pool& dry_pool(Device device);  // dry_pool.cc

// Blocks of a lane that are not free.
int64_t gpu_blocks_in_use(int device, int64_t lane);
int64_t dry_blocks_in_use(Device device, int64_t lane);

}  // namespace tessera
