// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/checksum.h"

#include <algorithm>

#include <isa-l/crc.h>

namespace tessera {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // x^32 + ... + 1, lowest power in the highest bit
constexpr uint32_t kOne = 0x80000000;         // the polynomial 1 in that order

uint32_t multiply_by_x(uint32_t a) {
  return (a >> 1) ^ ((a & 1) ? kPolynomial : 0);
}

// a * b modulo the polynomial.
uint32_t multiply(uint32_t a, uint32_t b) {
  uint32_t product = 0;
  for (uint32_t bit = kOne; bit != 0; bit >>= 1) {
    if (a & bit) product ^= b;
    b = multiply_by_x(b);
  }
  return product;
}

// x^(8 * bytes) modulo the polynomial, by repeated squaring.
uint32_t shift_by(int64_t bytes) {
  uint32_t power = kOne >> 8;  // x^8
  uint32_t result = kOne;
  for (; bytes > 0; bytes >>= 1) {
    if (bytes & 1) result = multiply(result, power);
    power = multiply(power, power);
  }
  return result;
}

}  // namespace

uint32_t crc32c(const void* data, int64_t bytes, uint32_t before) {
  // ISA-L counts in int, leaves both inversions to the caller and takes a pointer to non-const.
  constexpr int64_t kLargest = int64_t{1} << 30;
  auto* next = static_cast<unsigned char*>(const_cast<void*>(data));
  uint32_t crc = ~before;
  while (bytes > 0) {
    const int64_t part = std::min(bytes, kLargest);
    crc = crc32_iscsi(next, static_cast<int>(part), crc);
    next += part;
    bytes -= part;
  }
  return ~crc;
}

uint32_t crc32c_joined(uint32_t crc_a, uint32_t crc_b, int64_t bytes_b) {
  return multiply(shift_by(bytes_b), crc_a) ^ crc_b;
}

std::string hex(uint32_t crc) {
  std::string text(8, '0');
  for (size_t digit = 8; digit-- > 0; crc >>= 4) text[digit] = "0123456789abcdef"[crc & 15];
  return text;
}

}  // namespace tessera
