// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/kept_memory.h"

#include "kernels/base/check.h"
#include "kernels/base/graph.h"
#include "kernels/base/pool.h"
#include "kernels/base/thread_lane.h"
#include "kernels/cuda_plugin.h"

namespace tessera {

KeptMemory::KeptMemory(Device device) : device_(device), owner_(ThreadLane::mine().number()) {
  if (!Graph::possible(device)) return;
  lane_ = ThreadLane::new_number();
  if (device.plays_gpu()) return;
  queue_ = ThreadLane::mine().queue(device.index);
  keep_lane(device.index, lane_);
}

KeptMemory::~KeptMemory() {
  if (!queue_) return;
  try {
    cuda_accelerator().synchronize(queue_.get());
  } catch (const Error&) {
    return;  // the device failed: whoever uses it next is told; this memory stays out of use
  }
  end_lane(lane_);
}

int64_t KeptMemory::in_use() const {
  if (lane_ == 0) return 0;
  return queue_ ? gpu_blocks_in_use(device_.index, lane_) : dry_blocks_in_use(device_, lane_);
}

KeptMemory::Use::Use(const KeptMemory& memory) : before_(ThreadLane::mine().memory()) {
  check(ThreadLane::mine().number() == memory.owner_, "KeptMemory: used by another thread");
  if (memory.lane_ != 0) ThreadLane::mine().take_memory_from(memory.lane_);
}

KeptMemory::Use::~Use() {
  ThreadLane::mine().take_memory_from(before_);
}

}  // namespace tessera
