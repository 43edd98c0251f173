// SPDX-License-Identifier: Apache-2.0
// Addresses without memory, counted as those pools would count that they stand for: the host's
// (buffer.cc) or a GPU's (device_pool.cc), blocks that these would keep included.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "kernels/base/check.h"
#include "kernels/base/pool.h"
#include "kernels/base/thread_lane.h"

namespace tessera {
namespace {

class DryPool : public Pool {
 public:
  explicit DryPool(bool plays_gpu) : plays_gpu_(plays_gpu) {}

  std::byte* take(int64_t bytes, MemoryClass memory_class) override {
    const std::lock_guard lock(mutex_);
    const Kind kind{plays_gpu_ ? ThreadLane::mine().memory() : 0, size_of_block(bytes)};
    Blocks& blocks = blocks_[kind];
    std::byte* block = blocks.take_addresses(kind.second);
    lane_of_[block] = kind.first;
    count(memory_class, kind.second);
    if (++blocks.live > blocks.most) {
      blocks.most = blocks.live;
      ask_system(kind);
    }
    return block;
  }

  void give(std::byte* block, int64_t bytes, MemoryClass memory_class) noexcept override {
    const std::lock_guard lock(mutex_);
    const int64_t size = size_of_block(bytes);
    count(memory_class, -size);
    const auto taken = lane_of_.find(block);
    Blocks& blocks = blocks_[{taken->second, size}];
    --blocks.live;
    blocks.given_back.push_back(block);
    lane_of_.erase(taken);
  }

  void restart_peaks() override {
    Pool::restart_peaks();
    const std::lock_guard lock(mutex_);
    use_.system_bytes = 0;
    left_in_slab_.clear();
    for (auto& [kind, blocks] : blocks_) blocks.forget_addresses(kind.second);
    std::erase_if(blocks_, [](const auto& blocks) { return blocks.second.live == 0; });
    for (auto& [kind, blocks] : blocks_) {
      blocks.most = blocks.live;
      for (int64_t i = 0; i < blocks.live; ++i) ask_system(kind);
    }
  }

  int64_t in_use(int64_t lane) {
    const std::lock_guard lock(mutex_);
    return std::count_if(lane_of_.begin(), lane_of_.end(),
                         [&](const auto& block) { return block.second == lane; });
  }

 private:
  using Kind = std::pair<int64_t, int64_t>;  // (lane, size)
  struct Blocks {
    int64_t live = 0;
    int64_t most = 0;                    // that a pool would hold
    std::vector<std::byte*> given_back;  // addresses for the next ones: asking the system is slow

    std::byte* take_addresses(int64_t size) {
      if (!given_back.empty()) {
        std::byte* block = given_back.back();
        given_back.pop_back();
        return block;
      }
      void* range = mmap(nullptr, static_cast<size_t>(size), PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      check(range != MAP_FAILED, ErrorKind::capacity, "dry run: no room for", size,
            "more bytes of addresses");
      return static_cast<std::byte*>(range);
    }
    void forget_addresses(int64_t size) {
      for (std::byte* block : given_back) munmap(block, static_cast<size_t>(size));
      given_back.clear();
    }
  };

  int64_t size_of_block(int64_t bytes) const {
    return plays_gpu_ ? gpu_block(bytes) : rounded(bytes);
  }
  void ask_system(const Kind& kind) {
    const auto& [lane, size] = kind;
    if (!plays_gpu_) return ask_for(padded(size));
    if (size >= kLargeBlock) return ask_for(size);
    int64_t& left = left_in_slab_[lane];
    if (left < size) {
      ask_for(kSlab);
      left = kSlab;
    }
    left -= size;
  }
  void ask_for(int64_t bytes) {
    ++use_.system_allocations;
    use_.system_bytes += bytes;
  }

  bool plays_gpu_;
  std::map<Kind, Blocks> blocks_;
  std::map<std::byte*, int64_t> lane_of_;  // of blocks in use
  std::map<int64_t, int64_t> left_in_slab_;
};

// Never destroyed: buffers in static objects may outlive any order we could choose.
DryPool& pool_of(Device device) {
  static DryPool& of_host = *new DryPool(false);
  static DryPool& of_gpu = *new DryPool(true);
  return device.plays_gpu() ? of_gpu : of_host;
}

}  // namespace

Pool& dry_pool(Device device) {
  return pool_of(device);
}

int64_t dry_blocks_in_use(Device device, int64_t lane) {
  return pool_of(device).in_use(lane);
}

}  // namespace tessera
