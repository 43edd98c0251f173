// SPDX-License-Identifier: Apache-2.0
// The little that this room needs to know about UTF-8 (RFC 3629: no surrogates, nothing overlong,
// nothing above U+10FFFF).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

// The code point at the beginning of `text` and how many bytes it takes; size 0 if there is none.
struct CodePoint {
  uint32_t value = 0;
  int size = 0;
};
CodePoint decode_utf8(std::string_view text);
void append_utf8(uint32_t code_point, std::string& out);
size_t valid_utf8_prefix(std::string_view text);  // bytes of the longest valid beginning
// The last place at or before `position` where a character begins (any bytes; at most 3 back).
size_t character_boundary(std::string_view text, size_t position);

}  // namespace tessera
