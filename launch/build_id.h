// SPDX-License-Identifier: Apache-2.0
// Tells one build of the program from another.
#pragma once

#include <string>

namespace tessera {

// Returns the beginning of the build id that the linker gave to the library or program that holds
// this function: 16 hex digits, equal only for equal code. Empty where the linker gives none.
std::string build_id();

// Returns "tessera 0.1.0, build 0123456789abcdef"
std::string program_identity();

}  // namespace tessera
