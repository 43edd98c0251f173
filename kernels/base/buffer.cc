// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/buffer.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "kernels/base/check.h"
#include "kernels/base/pool.h"
#include "kernels/base/shared_segment.h"

namespace tessera {
namespace {

constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;  // large buffers start on one: fewer TLB misses

// What other ranks of the node read or write: collectives without a copy between.
bool concerns_others(MemoryClass memory_class) {
  return memory_class == MemoryClass::weights || memory_class == MemoryClass::gradients ||
         memory_class == MemoryClass::communication;
}

class HostPool : public Pool {
 public:
  std::byte* take(int64_t bytes, MemoryClass memory_class) override {
    const int64_t size = rounded(bytes);
    const std::lock_guard lock(mutex_);
    count(memory_class, size);
    if (shares_ && size >= kLeastShared && concerns_others(memory_class)) {
      if (std::byte* block = take_idle(size, true)) return block;
      if (std::byte* block = allocate_shared(size)) return block;
    }
    std::byte* block = take_idle(size, false);
    return block != nullptr ? block : allocate(size);
  }

  void give(std::byte* block, int64_t bytes, MemoryClass memory_class) noexcept override {
    const std::lock_guard lock(mutex_);
    const int64_t size = rounded(bytes);
    count(memory_class, -size);
    idle_[{size, segments_.contains(block)}].push_back(block);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    for (auto& [kind, blocks] : idle_)
      for (std::byte* block : blocks) {
        use_.system_bytes -= kind.second ? kind.first : padded(kind.first);
        if (segments_.erase(block) == 0) std::free(block);
      }
    idle_.clear();
  }

  void share() {
    const std::lock_guard lock(mutex_);
    shares_ = true;
  }
  int file_of(std::byte* block) {
    const std::lock_guard lock(mutex_);
    const auto segment = segments_.find(block);
    return segment == segments_.end() ? -1 : segment->second.file();
  }

 private:
  std::byte* take_idle(int64_t size, bool shared) {
    std::vector<std::byte*>& idle = idle_[{size, shared}];
    if (idle.empty()) return nullptr;
    std::byte* block = idle.back();
    idle.pop_back();
    return block;
  }
  std::byte* allocate(int64_t size) {
    const int64_t alignment = size >= kHugePage ? kHugePage : kAlignment;
    auto* block = static_cast<std::byte*>(
        std::aligned_alloc(static_cast<size_t>(alignment), static_cast<size_t>(padded(size))));
    check(block != nullptr, ErrorKind::capacity, "out of host memory: could not allocate", size,
          "bytes; use a smaller batch.micro or more ranks");
    if (size >= kHugePage) madvise(block, static_cast<size_t>(padded(size)), MADV_HUGEPAGE);
    ++use_.system_allocations;
    use_.system_bytes += padded(size);
    return block;
  }
  // Null where there is no room. Each block is an open file: few enough for the usual limit.
  std::byte* allocate_shared(int64_t size) {
    constexpr size_t kMostFiles = 256;
    if (segments_.size() >= kMostFiles) return nullptr;
    try {
      SharedSegment segment = SharedSegment::create(size);
      segment.use_huge_pages();
      std::byte* block = segment.data();
      segments_.emplace(block, std::move(segment));
      ++use_.system_allocations;
      use_.system_bytes += size;
      return block;
    } catch (const Error&) {
      return nullptr;
    }
  }

  bool shares_ = false;
  std::map<std::pair<int64_t, bool>, std::vector<std::byte*>> idle_;  // (size, shared)
  std::map<std::byte*, SharedSegment> segments_;
};

// Never destroyed: buffers in other static objects may outlive any order we could choose.
HostPool& host_pool() {
  static HostPool& pool = *new HostPool;
  return pool;
}

Pool& pool_of(Device device) {
  switch (device.kind) {
    case Device::Kind::cpu:
    case Device::Kind::reference: return host_pool();
    case Device::Kind::cuda: return device_pool(device.index);
    case Device::Kind::dry: return dry_pool(device);
  }
  fail(ErrorKind::internal, "Buffer: no such kind of device", static_cast<int>(device.kind));
}

}  // namespace

int64_t rounded(int64_t bytes) {
  int64_t unit = kAlignment;
  if (bytes > 4096) unit = int64_t{1} << (63 - __builtin_clzll(static_cast<uint64_t>(bytes)) - 3);
  return std::max<int64_t>((bytes + unit - 1) / unit * unit, kAlignment);
}

int64_t padded(int64_t size) {
  return size >= kHugePage ? (size + kHugePage - 1) / kHugePage * kHugePage : size;
}

MemoryUse Pool::use() {
  const std::lock_guard lock(mutex_);
  return use_;
}

void Pool::restart_peaks() {
  const std::lock_guard lock(mutex_);
  use_.peak = use_.now;
  use_.peak_total = std::accumulate(use_.now.begin(), use_.now.end(), int64_t{0});
}

void Pool::count(MemoryClass memory_class, int64_t bytes) {
  const auto index = static_cast<size_t>(memory_class);
  use_.now[index] += bytes;
  use_.peak[index] = std::max(use_.peak[index], use_.now[index]);
  const int64_t total = std::accumulate(use_.now.begin(), use_.now.end(), int64_t{0});
  use_.peak_total = std::max(use_.peak_total, total);
}

const char* name(MemoryClass memory_class) {
  static constexpr std::array<const char*, kNumMemoryClasses> kNames = {
      "weights", "gradients", "optimizer", "activations", "communication", "other"};
  return kNames.at(static_cast<size_t>(memory_class));
}

Buffer::Buffer(Device device, int64_t bytes, MemoryClass memory_class)
    : Buffer(device, bytes, memory_class, pool_of(device)) {}

Buffer::Buffer(Device device, int64_t bytes, MemoryClass memory_class, Pool& pool)
    : device_(device), bytes_(bytes), memory_class_(memory_class), pool_(pool) {
  check(bytes >= 0, "Buffer: negative size", bytes);
  data_ = pool_.take(bytes, memory_class);
}

std::shared_ptr<Buffer> Buffer::staging(Device device, int64_t bytes) {
  Pool& pool = device.kind == Device::Kind::cuda ? pinned_pool() : host_pool();
  return std::make_shared<Buffer>(Device{}, bytes, MemoryClass::communication, pool);
}

Buffer::~Buffer() {
  pool_.give(data_, bytes_, memory_class_);
}

int Buffer::file() const {
  return &pool_ == &host_pool() ? host_pool().file_of(data_) : -1;
}

MemoryUse memory_use(Device device) {
  return pool_of(device).use();
}
void restart_peaks(Device device) {
  pool_of(device).restart_peaks();
}
void release_pooled_memory() {
  host_pool().release();
}
void share_host_memory() {
  host_pool().share();
}

}  // namespace tessera
