// SPDX-License-Identifier: Apache-2.0
// Standard error must not stop the program that writes to it: a reader who has gone away, a full
// disk, or a reader who stands still (a stopped pager, Ctrl-S on a terminal) costs lines, never
// progress.
#pragma once

#include <string_view>

namespace tessera {

// Writes a text to standard error. When nobody makes room for it within a second, it is left out,
// and so is what follows until there is room; then one line tells how many texts are missing.
// Failures are not told. Thread-safe.
void to_standard_error(std::string_view text);

}  // namespace tessera
