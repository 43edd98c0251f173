// SPDX-License-Identifier: Apache-2.0
// CRC32C (Castagnoli; iSCSI, RFC 3720 B.4), the checksum of everything in a checkpoint: detects
// every error burst up to 32 bits, and runs at memory speed on the CPU's own instruction. It guards
// against accidents, not against an adversary. Pure functions. The only home of ISA-L's crc.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

// The checksum of `bytes` bytes that follow data whose checksum was `before` (0: nothing).
// crc32c("123456789", 9) == 0xe3069283.
uint32_t crc32c(const void* data, int64_t bytes, uint32_t before = 0);
inline uint32_t crc32c(std::string_view text) {
  return crc32c(text.data(), static_cast<int64_t>(text.size()));
}

// The checksum of A followed by B from theirs and the length of B, without reading either.
uint32_t crc32c_joined(uint32_t crc_a, uint32_t crc_b, int64_t bytes_b);

std::string hex(uint32_t crc);  // eight lower-case digits

}  // namespace tessera
