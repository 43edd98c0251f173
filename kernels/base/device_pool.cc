// SPDX-License-Identifier: Apache-2.0
// A GPU's memory: blocks are kept by size and by the lane (thread_lane.h) that used them last, so a
// steady step asks the device for nothing and waits for nothing. Small blocks are cut from larger
// ones, which stay. Where the device has no room left, idle blocks are given back to it, but for
// those of lanes that keep their addresses (kept_memory.h), and if that does not help, the
// Error{capacity} tells what its memory is used for.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kernels/base/check.h"
#include "kernels/base/graph.h"
#include "kernels/base/pool.h"
#include "kernels/base/thread_lane.h"
#include "kernels/cuda_plugin.h"

namespace tessera {
namespace {

constexpr int64_t kAlignment = 256;          // of a block: what coalesced access wants
constexpr int64_t kPage = int64_t{2} << 20;  // the driver's granularity
constexpr int64_t kNobody = 0;               // the lane of blocks that no queued work touches

std::string gib(int64_t bytes) {
  constexpr double kGib = 1 << 30;
  std::string text = std::to_string(static_cast<double>(bytes) / kGib);
  return text.substr(0, text.find('.') + 3) + " GiB";
}

class DevicePool : public Pool {
 public:
  explicit DevicePool(int device) : device_(device) {}

  std::byte* take(int64_t bytes, MemoryClass memory_class) override {
    const int64_t lane = lane_of_thread(), size = gpu_block(bytes);
    const std::lock_guard lock(mutex_);
    std::byte* block = take_idle(lane, size);
    if (block == nullptr) block = take_idle(kNobody, size);
    if (block == nullptr) block = size >= kLargeBlock ? allocate(size) : cut_from_slab(lane, size);
    if (block == nullptr) no_room(bytes, memory_class);
    lane_of_[block] = lane;
    count(memory_class, size);
    return block;
  }

  void give(std::byte* block, int64_t bytes, MemoryClass memory_class) noexcept override {
    const std::lock_guard lock(mutex_);
    const int64_t size = gpu_block(bytes);
    count(memory_class, -size);
    const auto taken = lane_of_.find(block);
    const int64_t lane = ended_.contains(taken->second) ? kNobody : taken->second;
    lane_of_.erase(taken);
    idle_[{lane, size}].push_back(block);
  }

  void end_lane(int64_t lane) {
    const std::lock_guard lock(mutex_);
    ended_.insert(lane);
    kept_.erase(lane);
    slabs_.erase(lane);
    for (auto it = idle_.lower_bound({lane, 0}); it != idle_.end() && it->first.first == lane;) {
      std::vector<std::byte*>& free_for_all = idle_[{kNobody, it->first.second}];
      free_for_all.insert(free_for_all.end(), it->second.begin(), it->second.end());
      it = idle_.erase(it);
    }
  }

  void keep_lane(int64_t lane) {
    const std::lock_guard lock(mutex_);
    kept_.insert(lane);
  }
  int64_t blocks_in_use(int64_t lane) {
    const std::lock_guard lock(mutex_);
    return std::count_if(lane_of_.begin(), lane_of_.end(),
                         [&](const auto& block) { return block.second == lane; });
  }

 private:
  struct Slab {
    std::byte* next = nullptr;
    int64_t left = 0;
  };
  using Idle = std::map<std::pair<int64_t, int64_t>, std::vector<std::byte*>>;  // (lane, size)

  // Makes the thread's queue too: what it takes is used there, and is handed on when it ends.
  int64_t lane_of_thread() const {
    ThreadLane::mine().queue(device_);
    return ThreadLane::mine().memory();
  }
  std::byte* take_idle(int64_t lane, int64_t size) {
    const auto found = idle_.find({lane, size});
    if (found == idle_.end() || found->second.empty()) return nullptr;
    std::byte* block = found->second.back();
    found->second.pop_back();
    return block;
  }
  // Null where there is no room.
  std::byte* allocate(int64_t size) {
    refuse_while_recording("more memory of the device");
    std::byte* block = cuda_accelerator().allocate(device_, size);
    if (block == nullptr) {
      give_back_idle();
      block = cuda_accelerator().allocate(device_, size);
    }
    if (block == nullptr) return nullptr;
    ++use_.system_allocations;
    use_.system_bytes += size;
    return block;
  }
  std::byte* cut_from_slab(int64_t lane, int64_t size) {
    Slab& slab = slabs_[lane];
    if (slab.left < size) {
      std::byte* fresh = allocate(kSlab);
      if (fresh == nullptr) return nullptr;
      slab = {fresh, kSlab};
    }
    std::byte* block = slab.next;
    slab.next += size;
    slab.left -= size;
    return block;
  }
  // Accelerator::release() waits for queued work where it must.
  void give_back_idle() {
    for (auto& [kind, blocks] : idle_) {
      if (kind.second < kLargeBlock || kept_.contains(kind.first)) continue;
      for (std::byte* block : blocks) {
        cuda_accelerator().release(device_, block);
        use_.system_bytes -= kind.second;
      }
      blocks.clear();
    }
  }

  [[noreturn]] void no_room(int64_t bytes, MemoryClass memory_class) const {
    const DeviceMemory memory = cuda_accelerator().memory(device_);
    std::string use;
    for (int c = 0; c < kNumMemoryClasses; ++c)
      use += std::string(c ? ", " : "") + name(static_cast<MemoryClass>(c)) + " " +
             gib(use_.now[static_cast<size_t>(c)]);
    const int64_t others = memory.total - memory.free - use_.system_bytes;
    fail(ErrorKind::capacity,
         "cuda:" + std::to_string(device_) + " is out of memory: " + gib(bytes) + " more for " +
             name(memory_class) + " do not fit, device has " + gib(memory.total) + ": " + use +
             ", others and the driver " + gib(std::max<int64_t>(0, others)) +
             ". Use parallel.recompute=full, a smaller batch.micro, a higher parallel.zero or more "
             "ranks (tessera plan)");
  }

  int device_;
  Idle idle_;
  std::map<std::byte*, int64_t> lane_of_;  // of blocks in use
  std::map<int64_t, Slab> slabs_;          // by lane
  std::set<int64_t> ended_, kept_;         // lanes
};

// Never destroyed: buffers in other static objects may outlive any order we could choose.
struct DevicePools {
  std::mutex mutex;
  std::map<int, std::unique_ptr<DevicePool>> by_device;
};
DevicePools& pools() {
  static DevicePools& all = *new DevicePools;
  return all;
}

DevicePool& pool_of(int device) {
  DevicePools& all = pools();
  const std::lock_guard lock(all.mutex);
  std::unique_ptr<DevicePool>& pool = all.by_device[device];
  if (!pool) pool = std::make_unique<DevicePool>(device);
  return *pool;
}

}  // namespace

int64_t gpu_block(int64_t bytes) {
  const int64_t unit = rounded(bytes) >= kLargeBlock ? kPage : kAlignment;
  return (rounded(bytes) + unit - 1) / unit * unit;
}

Pool& device_pool(int device) {
  return pool_of(device);
}

void keep_lane(int device, int64_t lane) {
  pool_of(device).keep_lane(lane);
}

int64_t gpu_blocks_in_use(int device, int64_t lane) {
  return pool_of(device).blocks_in_use(lane);
}

void end_lane(int64_t lane) noexcept {
  DevicePools& all = pools();
  const std::lock_guard lock(all.mutex);
  for (const auto& [device, pool] : all.by_device) pool->end_lane(lane);
}

}  // namespace tessera
