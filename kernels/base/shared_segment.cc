// SPDX-License-Identifier: Apache-2.0
#include "kernels/base/shared_segment.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kernels/base/check.h"

namespace tessera {
namespace {

[[noreturn]] void no_room(const char* what, int file, int64_t bytes, int error) {
  if (file >= 0) ::close(file);
  fail(ErrorKind::capacity, "shared memory:", what, "of", bytes, "bytes:", std::strerror(error));
}

constexpr int64_t kHugePage = int64_t{2} << 20;
constexpr int kCollapse = 25;  // MADV_COLLAPSE of Linux 6.1, which older headers do not know

// A mapping that begins where a huge page may.
void* map_aligned(int file, int64_t bytes) {
  const auto size = static_cast<size_t>(bytes), room = size + kHugePage;
  void* reserved =
      mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED) return MAP_FAILED;
  auto* first = static_cast<std::byte*>(reserved);
  const size_t skip = -reinterpret_cast<uintptr_t>(first) % kHugePage;
  const int64_t page = sysconf(_SC_PAGESIZE);
  const size_t end = skip + (size + page - 1) / page * page;
  void* data = mmap(first + skip, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
  if (data == MAP_FAILED) {
    munmap(first, room);
    return MAP_FAILED;
  }
  if (skip > 0) munmap(first, skip);
  if (end < room) munmap(first + end, room - end);
  return data;
}

// Beyond this limit the kernel would not refuse but send SIGXFSZ.
bool beyond_file_limit(int64_t bytes) {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
         static_cast<rlim_t>(bytes) > limit.rlim_cur;
}

}  // namespace

SharedSegment SharedSegment::create(int64_t bytes) {
  if (beyond_file_limit(bytes)) no_room("allocation", -1, bytes, EFBIG);
  const int file = memfd_create("tessera", MFD_CLOEXEC);
  if (file < 0) no_room("memfd_create", file, bytes, errno);
  int result = 0;
  do result = fallocate(file, 0, 0, bytes);
  while (result != 0 && errno == EINTR);
  if (result != 0) no_room("allocation", file, bytes, errno);
  return SharedSegment(file, bytes);
}

SharedSegment SharedSegment::open(const std::string& path, int64_t bytes) {
  const int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) no_room("opening another rank's segment", file, bytes, errno);
  return SharedSegment(file, bytes);
}

SharedSegment::SharedSegment(int file, int64_t bytes) : file_(file), bytes_(bytes) {
  void* data = map_aligned(file, bytes);
  if (data == MAP_FAILED) no_room("mapping", file, bytes, errno);
  data_ = static_cast<std::byte*>(data);
}

SharedSegment::SharedSegment(SharedSegment&& other) noexcept
    : file_(std::exchange(other.file_, -1)),
      bytes_(other.bytes_),
      data_(std::exchange(other.data_, nullptr)) {}

SharedSegment::~SharedSegment() {
  close_path();
  if (data_ != nullptr) munmap(data_, static_cast<size_t>(bytes_));
}

void SharedSegment::use_huge_pages() {
  if (bytes_ >= kHugePage)
    madvise(data_, static_cast<size_t>(bytes_ / kHugePage * kHugePage), kCollapse);
}

std::string SharedSegment::path() const {
  return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(file_);
}

void SharedSegment::close_path() {
  if (file_ >= 0) ::close(file_);
  file_ = -1;
}

}  // namespace tessera
