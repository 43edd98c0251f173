// SPDX-License-Identifier: Apache-2.0
// Tells AddressSanitizer, where it is there, which bytes may not be touched.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace cuda_on_host {

#if defined(__SANITIZE_ADDRESS__)
inline void open(void* bytes, size_t count) {
  __asan_unpoison_memory_region(bytes, count);
}
inline void close(void* bytes, size_t count) {
  __asan_poison_memory_region(bytes, count);
}
#else
inline void open(void*, size_t) {}
inline void close(void*, size_t) {}
#endif

}  // namespace cuda_on_host
