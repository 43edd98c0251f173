// SPDX-License-Identifier: Apache-2.0
// Host memory that a GPU's copies read and write without the host's help. Making it is slow, so it
// is kept by size.
#include <map>
#include <vector>

#include "kernels/base/check.h"
#include "kernels/base/graph.h"
#include "kernels/base/pool.h"
#include "kernels/cuda_plugin.h"

namespace tessera {
namespace {

class PinnedPool : public Pool {
 public:
  std::byte* take(int64_t bytes, MemoryClass memory_class) override {
    const int64_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    std::vector<std::byte*>& idle = idle_[size];
    std::byte* block = nullptr;
    if (idle.empty()) {
      // The driver would refuse it, too, but end the recording and not say what asked for it.
      refuse_while_recording("more pinned memory of the host");
      block = cuda_accelerator().allocate_pinned(size);
      check(block != nullptr, ErrorKind::capacity, "out of pinned host memory: could not have",
            size, "bytes more; see ulimit -l and the memory that other ranks of this node use");
      ++use_.system_allocations;
      use_.system_bytes += size;
    } else {
      block = idle.back();
      idle.pop_back();
    }
    count(memory_class, size);
    return block;
  }
  void give(std::byte* block, int64_t bytes, MemoryClass memory_class) noexcept override {
    const int64_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    count(memory_class, -size);
    idle_[size].push_back(block);
  }

 private:
  std::map<int64_t, std::vector<std::byte*>> idle_;  // by size
};

}  // namespace

Pool& pinned_pool() {
  static PinnedPool& pool = *new PinnedPool;
  return pool;
}

}  // namespace tessera
