// SPDX-License-Identifier: Apache-2.0
// A Graph is work that a stream was given once, kept to be done again by one call: kernels with all
// their arguments, addresses of memory included. So whoever launches it sees to it that this memory
// is still there and nobody else's (kernels/base/kept_memory.h), and gives it other numbers by
// putting them in the same place.
//
// While work is recorded nothing of it is done, so the host can wait for nothing, copy nothing from
// or to its own memory, and the device's pool cannot grow: run the work once before. Whatever of
// these is tried throws Error{internal} that says so. A dry device that plays a GPU does the work
// once, for what it allocates. One thread drives one Graph.
#pragma once

#include <functional>
#include <memory>

#include "kernels/base/stream.h"

namespace tessera {

class Graph {
 public:
  // Whether a device's streams can be recorded. Streams of the host do everything at once.
  static bool possible(Device device) {
    return device.kind == Device::Kind::cuda || device.plays_gpu();
  }

  // What work() gives to `stream`, on this thread. REQUIRES possible(stream.device()). Throws what
  // work() throws, and Error{peer} where the device cannot record it.
  Graph(Stream& stream, const std::function<void()>& work);
  void launch(Stream& stream) const;  // in the order of the stream; returns at once

 private:
  std::shared_ptr<Accelerator::Graph> graph_;  // none: on the dry device
};

// Throws Error{internal} that names `what` when the calling thread is recording.
void refuse_while_recording(const char* what);

}  // namespace tessera
