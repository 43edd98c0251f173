// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <numeric>
#include <vector>

#include <sys/mman.h>

#include "kernels/base/check.h"

namespace tessera {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;  // large buffers start on one: fewer TLB misses

// Sizes are rounded up so that nearly equal requests share pooled memory: to 64 bytes below 4 KiB,
// then to one eighth of their power of two (at most 12.5 % waste).
int64_t rounded(int64_t bytes) {
  int64_t unit = kAlignment;
  if (bytes > 4096) unit = int64_t{1} << (63 - __builtin_clzll(static_cast<uint64_t>(bytes)) - 3);
  return std::max<int64_t>((bytes + unit - 1) / unit * unit, kAlignment);
}

class HostPool {
 public:
  std::byte* take(int64_t bytes, MemoryClass memory_class) {
    const int64_t size = rounded(bytes);
    std::byte* block = nullptr;
    {
      const std::lock_guard lock(mutex_);
      count(memory_class, size);
      std::vector<std::byte*>& idle = idle_[size];
      if (!idle.empty()) {
        block = idle.back();
        idle.pop_back();
        return block;
      }
      ++use_.system_allocations;
    }
    const int64_t alignment = size >= kHugePage ? kHugePage : kAlignment;
    const int64_t padded = (size + alignment - 1) / alignment * alignment;
    block = static_cast<std::byte*>(
        std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(padded)));
    check(block != nullptr, ErrorKind::capacity, "out of host memory: could not allocate", size,
          "bytes; use a smaller batch.micro or more ranks");
    if (size >= kHugePage) madvise(block, static_cast<size_t>(padded), MADV_HUGEPAGE);
    return block;
  }

  void give(std::byte* block, int64_t bytes, MemoryClass memory_class) {
    const std::lock_guard lock(mutex_);
    const int64_t size = rounded(bytes);
    use_.now[static_cast<size_t>(memory_class)] -= size;
    idle_[size].push_back(block);
  }

  MemoryUse use() {
    const std::lock_guard lock(mutex_);
    return use_;
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [size, blocks] : idle_)
      for (std::byte* block : blocks) std::free(block);
    idle_.clear();
  }

 private:
  void count(MemoryClass memory_class, int64_t size) {
    const auto index = static_cast<size_t>(memory_class);
    use_.now[index] += size;
    use_.peak[index] = std::max(use_.peak[index], use_.now[index]);
    const int64_t total = std::accumulate(use_.now.begin(), use_.now.end(), int64_t{0});
    use_.peak_total = std::max(use_.peak_total, total);
  }

  std::mutex mutex_;
  std::map<int64_t, std::vector<std::byte*>> idle_;
  MemoryUse use_;
};

// Never destroyed: buffers in other static objects may outlive any order we could choose.
HostPool& host_pool() {
  static HostPool& pool = *new HostPool;
  return pool;
}

}  // namespace

const char* name(MemoryClass memory_class) {
  static constexpr std::array<const char*, kNumMemoryClasses> kNames = {
      "weights", "gradients", "optimizer", "activations", "communication", "other"};
  return kNames.at(static_cast<size_t>(memory_class));
}

Buffer::Buffer(Device device, int64_t bytes, MemoryClass memory_class)
    : device_(device), bytes_(bytes), memory_class_(memory_class) {
  check(bytes >= 0, "Buffer: negative size", bytes);
  check(device.is_host(), ErrorKind::usage, "Buffer: no memory on device", name(device));
  data_ = host_pool().take(bytes, memory_class);
}

Buffer::~Buffer() {
  host_pool().give(data_, bytes_, memory_class_);
}

MemoryUse memory_use() {
  return host_pool().use();
}
void release_pooled_memory() {
  host_pool().release();
}

}  // namespace tessera
