// SPDX-License-Identifier: Apache-2.0
// Owned bytes on a Device, counted by class so that a run can say where its memory went.
// Host buffers are aligned to 64 bytes (one AVX-512 vector, one cache line) and not initialised.
// A freed host buffer is kept in a per-process pool by size, so a steady step allocates nothing
// from the system. Once share_host_memory() was called, large buffers that other ranks of the node
// have business with lie in memory that these can map. A buffer of the dry device is a range of
// addresses with nothing behind it: the first access ends the process.
//
// A GPU's buffer must be left alone by the host. It comes from a pool of the calling thread, for
// the queue of which that thread's Streams are handles (kernels/base/stream.h): it may be freed
// while work on it is still queued there, for whatever gets its memory next is queued behind. Work
// of another queue, or another thread that frees it, must have been waited for. Where the GPU has
// no room, the Error{capacity} says what its memory is used for. Thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/base/device.h"

namespace tessera {

// What a piece of memory is for; reports use these names.
enum class MemoryClass : uint8_t {
  weights,
  gradients,
  optimizer,
  activations,
  communication,
  other
};
inline constexpr int kNumMemoryClasses = 6;
const char* name(MemoryClass memory_class);

class Pool;

class Buffer {
 public:
  Buffer(Device device, int64_t bytes, MemoryClass memory_class = MemoryClass::activations);
  // From another pool than the device's own (kernels/base/pool.h), which outlives it.
  Buffer(Device device, int64_t bytes, MemoryClass memory_class, Pool& pool);
  // Of the host, and such that copies from and to `device` go on beside the program: pinned memory
  // for a GPU. Free it when they are done.
  static std::shared_ptr<Buffer> staging(Device device, int64_t bytes);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // The file, of this process, that this memory is a mapping of, from its first byte on; -1: the
  // memory is private.
  int file() const;

 private:
  Device device_;
  int64_t bytes_;
  MemoryClass memory_class_;
  Pool& pool_;
  std::byte* data_;
};

struct MemoryUse {
  std::array<int64_t, kNumMemoryClasses> now{};   // bytes in live buffers
  std::array<int64_t, kNumMemoryClasses> peak{};  // the largest `now` of each class so far
  int64_t peak_total = 0;                         // the largest sum of `now` so far
  // How often the pool had to ask the system, and for how many bytes: constant in a steady step.
  // It keeps what was freed, by size, so this is what the system sees, and more than peak_total.
  int64_t system_allocations = 0;
  int64_t system_bytes = 0;
};
// Of the host (the cpu and the reference together), of a GPU or of the dry device.
MemoryUse memory_use(Device device = {});
void restart_peaks(Device device);  // the peaks so far are forgotten
void release_pooled_memory();       // gives pooled buffers back to the system

// From now on new host buffers of weights, gradients and communication of at least kLeastShared
// bytes lie in memory that other processes of this user can map (kernels/base/shared_segment.h),
// where the system has room for it; else in private memory as before.
inline constexpr int64_t kLeastShared = int64_t{64} << 10;
void share_host_memory();

}  // namespace tessera
