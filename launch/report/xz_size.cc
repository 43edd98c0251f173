// SPDX-License-Identifier: Apache-2.0
#include "launch/report/xz_size.h"

#include <vector>

#include <lzma.h>

#include "kernels/base/check.h"

namespace tessera {

double xz_bits_per_byte(std::string_view text) {
  if (text.empty()) return 0;
  std::vector<uint8_t> out(lzma_stream_buffer_bound(text.size()));
  size_t size = 0;
  const lzma_ret result = lzma_easy_buffer_encode(
      9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC64, nullptr,
      reinterpret_cast<const uint8_t*>(text.data()), text.size(), out.data(), &size, out.size());
  check(result == LZMA_OK, "lzma_easy_buffer_encode failed:", static_cast<int>(result));
  return 8.0 * static_cast<double>(size) / static_cast<double>(text.size());
}

}  // namespace tessera
