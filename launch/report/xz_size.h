// SPDX-License-Identifier: Apache-2.0
// What a general compressor needs for a text: the honest neighbour of a model's bits per byte.
#pragma once

#include <string_view>

namespace tessera {

// Bits per byte of `xz -9e` (liblzma, preset 9 extreme); 0 for an empty text.
double xz_bits_per_byte(std::string_view text);

}  // namespace tessera
