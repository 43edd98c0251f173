// SPDX-License-Identifier: Apache-2.0
// Tensors of another rank of the node, read and written where they lie: no copy between, and the
// other rank need not do anything meanwhile. Possible for buffers of share_host_memory()
// (kernels/base/buffer.h). Who may touch what and when is agreed elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/base/tensor.h"

namespace tessera {

// Where a tensor's first byte lies, in words that another process understands. The default is the
// place of a tensor without elements.
struct MemoryPlace {
  enum class Kind : int64_t { nowhere, unshared, shared };
  Kind kind = Kind::nowhere;
  int64_t process = 0;
  int64_t file = 0;
  int64_t offset = 0;
  friend bool operator==(const MemoryPlace&, const MemoryPlace&) = default;
};
MemoryPlace place_of(const Tensor& tensor);

// A view of a place, mapped window by window: what is mapped counts as this process's memory.
class PeerMemory {
 public:
  // REQUIRES a place that is not unshared. Throws Error{peer} when the memory cannot be had.
  explicit PeerMemory(const MemoryPlace& place);
  PeerMemory(PeerMemory&& other) noexcept;
  PeerMemory& operator=(PeerMemory&&) = delete;
  ~PeerMemory();
  // Bytes first .. first + bytes - 1 from the place on, until the next call.
  std::byte* window(int64_t first, int64_t bytes);

 private:
  void unmap();
  MemoryPlace place_;
  int file_ = -1;
  void* mapped_ = nullptr;
  int64_t mapped_bytes_ = 0;
};

}  // namespace tessera
