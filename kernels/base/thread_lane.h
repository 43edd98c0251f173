// SPDX-License-Identifier: Apache-2.0
// What a thread has of its own on the accelerator's devices: one queue for each, and a number for
// the memory that belongs to their order of work. Both end with the thread, after its work is done.
// The thread may take its memory from another number for a while (kept_memory.h). Kept inside this
// folder.
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

  static int64_t new_number();                // from 1, never given twice
  int64_t number() const { return number_; }  // the thread's
  // Where the thread's buffers come from: number(), or what was asked for last.
  int64_t memory() const { return memory_; }
  void take_memory_from(int64_t lane) { memory_ = lane; }
  const std::shared_ptr<Accelerator::Queue>& queue(int device);

 private:
  ThreadLane();
  int64_t number_;
  int64_t memory_;
  std::map<int, std::shared_ptr<Accelerator::Queue>> queues_;  // by device
};

// device_pool.cc: all work of the lane is done, and its memory is anybody's.
void end_lane(int64_t lane) noexcept;
// Idle blocks of the lane are not given back to the device until it ends.
void keep_lane(int device, int64_t lane);

}  // namespace tessera
