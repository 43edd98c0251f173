// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/peer_memory.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/base/check.h"

namespace tessera {
namespace {

[[noreturn]] void out_of_reach(const MemoryPlace& place, const char* what) {
  fail(ErrorKind::peer, "shared memory of process", place.process, "is out of reach:", what,
       std::string(std::strerror(errno)) + "; TESSERA_TRANSPORT=mpi does without it");
}

}  // namespace

MemoryPlace place_of(const Tensor& tensor) {
  if (tensor.empty() || tensor.size() == 0) return {};
  const Buffer& buffer = tensor.buffer();
  const int file = buffer.file();
  if (file < 0) return {.kind = MemoryPlace::Kind::unshared};
  return {.kind = MemoryPlace::Kind::shared,
          .process = getpid(),
          .file = file,
          .offset = static_cast<const std::byte*>(tensor.data()) - buffer.data()};
}

PeerMemory::PeerMemory(const MemoryPlace& place) : place_(place) {
  check(place.kind != MemoryPlace::Kind::unshared, "PeerMemory: the tensor's memory is private");
  if (place.kind == MemoryPlace::Kind::nowhere) return;
  const std::string path =
      "/proc/" + std::to_string(place.process) + "/fd/" + std::to_string(place.file);
  file_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file_ < 0) out_of_reach(place, "open:");
}

PeerMemory::PeerMemory(PeerMemory&& other) noexcept
    : place_(other.place_),
      file_(std::exchange(other.file_, -1)),
      mapped_(std::exchange(other.mapped_, nullptr)),
      mapped_bytes_(other.mapped_bytes_) {}

PeerMemory::~PeerMemory() {
  unmap();
  if (file_ >= 0) ::close(file_);
}

void PeerMemory::unmap() {
  if (mapped_ != nullptr) munmap(mapped_, static_cast<size_t>(mapped_bytes_));
  mapped_ = nullptr;
}

std::byte* PeerMemory::window(int64_t first, int64_t bytes) {
  static const int64_t page = sysconf(_SC_PAGESIZE);
  unmap();
  const int64_t start = place_.offset + first, aligned = start / page * page;
  mapped_bytes_ = start - aligned + bytes;
  // Populated at once: a fault for every few pages costs more than the copy.
  mapped_ = mmap(nullptr, static_cast<size_t>(mapped_bytes_), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_POPULATE, file_, aligned);
  if (mapped_ == MAP_FAILED) {
    mapped_ = nullptr;
    out_of_reach(place_, "mmap:");
  }
  return static_cast<std::byte*>(mapped_) + (start - aligned);
}

}  // namespace tessera
