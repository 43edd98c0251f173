// SPDX-License-Identifier: Apache-2.0
// Any bytes as an .idx file: either an Error{data} or an index whose numbers may be trusted.
#include <cstdlib>
#include <cstring>

#include "data/token_file.h"
#include "kernels/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  if (size < 1) return 0;
  const int64_t bin_bytes = data[0];
  const std::span<const char> idx(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    const TokenIndex index = parse_token_index("fuzz.idx", idx, bin_bytes);
    int64_t end = 0;
    for (int64_t s = 0; s < index.num_sequences; ++s) {
      int32_t length;
      std::memcpy(&length, index.lengths + 4 * s, sizeof length);
      end += int64_t{length} * index.token_bytes;
    }
    if (end != bin_bytes) std::abort();
    for (int64_t d = 0; d <= index.num_documents; ++d) {
      int64_t boundary;
      std::memcpy(&boundary, index.documents + 8 * d, sizeof boundary);
      if (boundary < 0 || boundary > index.num_sequences) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
  }
  try {
    parse_token_file_info("fuzz.json", {idx.data(), idx.size()});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
  }
  return 0;
}
