// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/kept_memory.h"

#include "kernels/base/check.h"
#include "kernels/base/thread_lane.h"
#include "kernels/cuda_plugin.h"

namespace tessera {

KeptMemory::KeptMemory(Device device) : device_(device), owner_(ThreadLane::mine().number()) {
  if (device.kind != Device::Kind::cuda) return;
  queue_ = ThreadLane::mine().queue(device.index);
  lane_ = ThreadLane::new_number();
  keep_lane(device.index, lane_);
}

KeptMemory::~KeptMemory() {
  if (lane_ == 0) return;
  try {
    cuda_accelerator().synchronize(queue_.get());
  } catch (const Error&) {
    return;  // the device failed: whoever uses it next is told; this memory stays out of use
  }
  end_lane(lane_);
}

int64_t KeptMemory::in_use() const {
  return lane_ == 0 ? 0 : blocks_in_use(device_.index, lane_);
}

KeptMemory::Use::Use(const KeptMemory& memory) : before_(ThreadLane::mine().memory()) {
  check(ThreadLane::mine().number() == memory.owner_, "KeptMemory: used by another thread");
  if (memory.lane_ != 0) ThreadLane::mine().take_memory_from(memory.lane_);
}

KeptMemory::Use::~Use() {
  ThreadLane::mine().take_memory_from(before_);
}

}  // namespace tessera
