// SPDX-License-Identifier: Apache-2.0
// What a plug-in gives to the program so that it can use the devices of one kind: memory, queues
// of work and its table of kernels, in plain types. libtessera_cuda.so implements it over the CUDA
// runtime (kernels/cuda/runtime.cc); kernels/cuda_plugin.h finds and opens it. Buffer, Stream and
// Event are built on it; others ask it for facts, no more.
//
// Devices are numbered 0 .. count()-1. Handles are opaque, belong to a device and to the
// Accelerator that made them. Everything throws Error: kind peer where a device failed, capacity
// only where said. Thread-safe, but for one queue used by two threads at once.
#pragma once

#include <cstdint>
#include <string>

namespace tessera {

struct Backend;  // kernels/backend.h

struct DeviceFacts {
  std::string name;          // "NVIDIA H200"
  int64_t memory_bytes = 0;  // in all
  int capability_major = 0;  // 9.0: Hopper
  int capability_minor = 0;
  int multiprocessors = 0;
  std::string identity;  // of the piece of hardware: equal on two ranks that share it
};

struct DeviceMemory {
  int64_t free = 0;
  int64_t total = 0;
};

enum class CopyDirection { to_device, to_host, on_device };

// Whether a Mark knows when its queue came to it, for which the device writes down the time.
enum class Timing { off, on };

// An area of `rows` rows of `row_bytes` each; pitches in bytes from one row to the next.
struct CopyArea {
  int64_t rows = 1;
  int64_t row_bytes = 0;
  int64_t to_pitch = 0;
  int64_t from_pitch = 0;
};

class Accelerator {
 public:
  struct Queue;  // work done one after another
  struct Mark;   // a point in a queue
  struct Graph;  // work that a queue was given once, to be done again

  virtual ~Accelerator() = default;

  // The libraries it runs on: "CUDA 13.0, NCCL 2.28.9, cuDNN 9.19".
  virtual std::string libraries() const = 0;
  // Why no device can be used, as the end of "plugin ... loaded (...), but"; empty: one can.
  virtual std::string problem() const = 0;
  virtual int count() const = 0;  // 0 when there is a problem
  virtual DeviceFacts facts(int device) const = 0;
  virtual DeviceMemory memory(int device) const = 0;
  virtual const Backend& backend() const = 0;
  // Whether matrix products of f32 on this device round their operands to TF32 (10 bits of
  // mantissa), which tensor cores multiply; at first they do not. For work queued from now on.
  virtual void set_tf32(int device, bool wanted) = 0;
  virtual bool tf32(int device) const = 0;

  // Aligned to 256 bytes at least. allocate(): null where there is no room. release() may wait
  // until the device is idle.
  virtual std::byte* allocate(int device, int64_t bytes) = 0;
  virtual void release(int device, std::byte* memory) noexcept = 0;
  // Host memory that copies read and write without the host's help; null where there is no room.
  virtual std::byte* allocate_pinned(int64_t bytes) = 0;
  virtual void release_pinned(std::byte* memory) noexcept = 0;

  virtual Queue* make_queue(int device) = 0;
  virtual void destroy(Queue* queue) noexcept = 0;  // what is queued is still done
  virtual void synchronize(Queue* queue) = 0;       // returns when all is done
  // Later than what is queued; returns at once when the host's side is pinned memory.
  virtual void copy(Queue* queue, CopyDirection direction, void* to, const void* from,
                    const CopyArea& area) = 0;

  virtual Mark* make_mark(int device, Timing timing) = 0;
  virtual void destroy(Mark* mark) noexcept = 0;
  virtual void record(Mark* mark, Queue* queue) = 0;
  virtual void wait(Queue* queue,
                    Mark* mark) = 0;           // later work of the queue waits; returns at once
  virtual bool reached(Mark* mark) const = 0;  // true also when never recorded
  virtual void synchronize(Mark* mark) = 0;
  // REQUIRES both timed, of one device, recorded and reached.
  virtual double milliseconds(Mark* from, Mark* to) const = 0;

  // Between the two, what the calling thread gives the queue is recorded, with its arguments, and
  // not done. A call that cannot be recorded throws, and end_recording() may, too; recording ends
  // in any case.
  virtual void begin_recording(Queue* queue) = 0;
  virtual Graph* end_recording(Queue* queue) = 0;
  virtual void launch(Graph* graph, Queue* queue) = 0;
  virtual void destroy(Graph* graph) noexcept = 0;  // launches that are queued are still done
};

}  // namespace tessera
