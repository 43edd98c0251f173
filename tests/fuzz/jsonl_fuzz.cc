// SPDX-License-Identifier: Apache-2.0
// Any bytes as one line of a JSON Lines file: either an Error{data} or a string.
#include <cstdlib>

#include "data/jsonl.h"
#include "kernels/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tessera;
  static JsonLine line("text");
  try {
    const std::string_view text =
        line.text({reinterpret_cast<const char*>(data), size}, "fuzz.jsonl:1");
    if (text.size() > size) std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) std::abort();
  }
  return 0;
}
