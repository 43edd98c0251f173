// SPDX-License-Identifier: Apache-2.0
#include "tests/support/cuda_stand_in/arena.h"

#include <sys/mman.h>

#include "kernels/base/check.h"

namespace tessera::stand_in {
namespace {
constexpr int64_t kPage = 4096;
// Blocks are never joined, so there are more addresses than memory.
constexpr int64_t kAddresses = int64_t{1} << 36;
// The memory is opened and closed around every kernel, which costs as many steps as it has pages:
// in huge ones, where the system has them, a test of a whole model takes a quarter of the time.
constexpr int64_t kHugePage = int64_t{1} << 21;

int64_t in_huge_pages(int64_t bytes) {
  return (bytes + kHugePage - 1) / kHugePage * kHugePage;
}
}  // namespace

Arena::Arena(int64_t capacity) : capacity_(capacity) {
  void* range = mmap(nullptr, static_cast<size_t>(kAddresses + kHugePage), PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  check(range != MAP_FAILED, ErrorKind::capacity, "stand-in: no room for its addresses");
  const auto address = reinterpret_cast<uintptr_t>(range);
  base_ = reinterpret_cast<std::byte*>(in_huge_pages(static_cast<int64_t>(address)));
  madvise(base_, static_cast<size_t>(kAddresses), MADV_HUGEPAGE);  // refused: it is slower only
}

void Arena::protect(int64_t first, int64_t end, bool readable) const {
  if (first == end) return;
  const int result = mprotect(base_ + first, static_cast<size_t>(end - first),
                              readable ? PROT_READ | PROT_WRITE : PROT_NONE);
  check(result == 0, "stand-in: mprotect failed");
}

std::byte* Arena::allocate(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  const int64_t size = (bytes + kPage - 1) / kPage * kPage;
  if (used_ + size > capacity_) return nullptr;
  std::byte* memory = base_ + end_;
  if (std::vector<std::byte*>& same = free_[size]; !same.empty()) {
    memory = same.back();
    same.pop_back();
  } else {
    check(end_ + size <= kAddresses, "stand-in: out of addresses");
    if (openers_ > 0) protect(in_huge_pages(end_), in_huge_pages(end_ + size), true);
    end_ += size;
  }
  used_ += size;
  sizes_[memory] = size;
  return memory;
}

void Arena::release(std::byte* memory) {
  const std::lock_guard lock(mutex_);
  const auto found = sizes_.find(memory);
  check(found != sizes_.end(), "stand-in: released what was not allocated");
  used_ -= found->second;
  free_[found->second].push_back(memory);
  sizes_.erase(found);
}

int64_t Arena::used() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

void Arena::open() {
  const std::lock_guard lock(mutex_);
  if (openers_++ == 0) protect(0, in_huge_pages(end_), true);
}

void Arena::close() {
  const std::lock_guard lock(mutex_);
  if (--openers_ == 0) protect(0, in_huge_pages(end_), false);
}

}  // namespace tessera::stand_in
