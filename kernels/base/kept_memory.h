// SPDX-License-Identifier: Apache-2.0
// Memory of a GPU for work whose addresses are recorded (graph.h). What a thread allocates while a
// Use lives comes from here and, freed, returns here: to nobody else and never to the device, so
// the work may be done again on the same addresses. It is counted by class like all memory. To
// share one KeptMemory, pieces of work hold nothing in it from one to the next: in_use() tells.
// Where nothing can be recorded it does nothing. Belongs to the thread that made it.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/base/accelerator.h"
#include "kernels/base/device.h"

namespace tessera {

class KeptMemory {
 public:
  explicit KeptMemory(Device device);
  ~KeptMemory();  // waits for the thread's queue; then it is anybody's memory
  KeptMemory(const KeptMemory&) = delete;
  KeptMemory& operator=(const KeptMemory&) = delete;

  class Use {
   public:
    explicit Use(const KeptMemory& memory);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    int64_t before_;
  };

  int64_t in_use() const;  // blocks that are not free

 private:
  Device device_;
  int64_t owner_;                              // the thread's lane
  int64_t lane_ = 0;                           // of this memory; 0: nothing can be recorded
  std::shared_ptr<Accelerator::Queue> queue_;  // none: on the dry device
};

}  // namespace tessera
