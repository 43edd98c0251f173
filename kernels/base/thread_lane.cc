// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/thread_lane.h"

#include <atomic>

#include "kernels/base/check.h"
#include "kernels/cuda_plugin.h"

namespace tessera {

std::shared_ptr<Accelerator::Queue> make_queue(int device) {
  Accelerator& accelerator = cuda_accelerator();
  check(
      device >= 0 && device < accelerator.count(), ErrorKind::usage,
      "there is no device cuda:" + std::to_string(device) + " here; devices:", accelerator.count());
  return {accelerator.make_queue(device),
          [&accelerator](Accelerator::Queue* queue) { accelerator.destroy(queue); }};
}

int64_t ThreadLane::new_number() {
  static std::atomic<int64_t> lanes{0};
  return ++lanes;
}

ThreadLane::ThreadLane() : number_(new_number()), memory_(number_) {}

ThreadLane& ThreadLane::mine() {
  thread_local ThreadLane lane;
  return lane;
}

ThreadLane::~ThreadLane() {
  try {
    for (const auto& [device, queue] : queues_) cuda_accelerator().synchronize(queue.get());
  } catch (const Error&) {
    return;  // the device failed: whoever uses it next is told; its memory stays out of use
  }
  if (!queues_.empty()) end_lane(number_);
}

const std::shared_ptr<Accelerator::Queue>& ThreadLane::queue(int device) {
  std::shared_ptr<Accelerator::Queue>& queue = queues_[device];
  if (!queue) queue = make_queue(device);
  return queue;
}

}  // namespace tessera
