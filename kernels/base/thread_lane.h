// SPDX-License-Identifier: Apache-2.0
// What a thread has of its own on the accelerator's devices: one queue for each, and a number for
// the memory that belongs to their order of work. Both end with the thread, after its work is done.
// Kept inside this folder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "kernels/base/accelerator.h"

namespace tessera {

std::shared_ptr<Accelerator::Queue> make_queue(int device);

class ThreadLane {
 public:
  static ThreadLane& mine();  // of the calling thread
  ~ThreadLane();

  int64_t number() const { return number_; }  // from 1, never given twice
  const std::shared_ptr<Accelerator::Queue>& queue(int device);

 private:
  ThreadLane();
  int64_t number_;
  std::map<int, std::shared_ptr<Accelerator::Queue>> queues_;  // by device
};

// device_pool.cc: all work of the lane is done, and its memory is anybody's.
void end_lane(int64_t lane) noexcept;

}  // namespace tessera
