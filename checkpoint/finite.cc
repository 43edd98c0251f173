// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/finite.h"

#include <algorithm>
#include <cstring>

#include "checkpoint/checksum.h"

namespace tessera {
namespace {

// A number is infinite or NaN when all bits of its exponent are set: then adding the lowest of them
// carries into the place of the sign, which was masked out. Several numbers lie in one word; no
// carry leaves its number.
struct Exponent {
  uint64_t mask = 0, lowest = 0, carry = 0;
};

Exponent exponent_of(DType dtype) {
  const auto repeated = [](uint64_t mask, uint64_t lowest, int bits) {
    Exponent all;
    for (int at = 0; at < 64; at += bits) {
      all.mask |= mask << at;
      all.lowest |= lowest << at;
      all.carry |= uint64_t{1} << (at + bits - 1);
    }
    return all;
  };
  switch (dtype) {
    case DType::f64: return repeated(0x7ff0000000000000, 0x0010000000000000, 64);
    case DType::f32: return repeated(0x7f800000, 0x00800000, 32);
    case DType::bf16: return repeated(0x7f80, 0x0080, 16);
    case DType::f16: return repeated(0x7c00, 0x0400, 16);
    case DType::f8_e4m3: return repeated(0x7f, 0x01, 8);  // no infinity; NaN has all bits set
    default: return {};
  }
}

constexpr int64_t kCachedBytes = 16 << 10;  // two of them fit in a first-level cache

// Four words: one register of AVX2, two of any x86-64.
using Words = uint64_t __attribute__((vector_size(32)));

// The carries of all numbers of `data`, whose size is a multiple of 64, together in one word.
[[gnu::always_inline]] inline uint64_t carries(const std::byte* data, int64_t bytes,
                                               const Exponent& exponent) {
  const Words mask = exponent.mask + Words{}, lowest = exponent.lowest + Words{};
  Words even = {}, odd = {};
  for (const std::byte* end = data + bytes; data < end; data += 2 * sizeof(Words)) {
    // The next part comes from memory while this one is looked at in the cache.
    __builtin_prefetch(data + kCachedBytes);
    Words first, second;
    std::memcpy(&first, data, sizeof first);
    std::memcpy(&second, data + sizeof first, sizeof second);
    even |= (first & mask) + lowest;
    odd |= (second & mask) + lowest;
  }
  even |= odd;
  return even[0] | even[1] | even[2] | even[3];
}

// The choice is made here and not by the loader (target_clones): a function that the loader calls
// runs before ThreadSanitizer has begun, and ends every program that it watches.
__attribute__((target("avx2"))) uint64_t carries_avx2(const std::byte* data, int64_t bytes,
                                                      const Exponent& exponent) {
  return carries(data, bytes, exponent);
}

uint64_t carries_of(const std::byte* data, int64_t bytes, const Exponent& exponent) {
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  return has_avx2 ? carries_avx2(data, bytes, exponent) : carries(data, bytes, exponent);
}

bool is_finite(const std::byte* data, int64_t bytes, const Exponent& exponent) {
  constexpr int64_t kStride = 2 * sizeof(Words);
  const int64_t whole = bytes / kStride * kStride;
  uint64_t carries = carries_of(data, whole, exponent);
  for (int64_t at = whole; at < bytes; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + at, static_cast<size_t>(std::min<int64_t>(8, bytes - at)));
    carries |= (word & exponent.mask) + exponent.lowest;
  }
  return (carries & exponent.carry) == 0;
}

}  // namespace

uint32_t crc32c_finite(const void* data, int64_t bytes, DType dtype, bool& finite) {
  const Exponent exponent = exponent_of(dtype);
  if (exponent.mask == 0) return crc32c(data, bytes);
  const auto* next = static_cast<const std::byte*>(data);
  uint32_t crc = 0;
  for (int64_t at = 0; at < bytes; at += kCachedBytes) {
    const int64_t part = std::min(kCachedBytes, bytes - at);
    crc = crc32c(next + at, part, crc);
    if (!is_finite(next + at, part, exponent)) finite = false;
  }
  return crc;
}

}  // namespace tessera
