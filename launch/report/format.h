// SPDX-License-Identifier: Apache-2.0
// Numbers as people read them: "10.1k", "29 MB", "1m02s", and text tables that align.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

std::string with_prefix(double value);          // 10100 -> "10.1k", 2.4e6 -> "2.40M"
std::string as_count(int64_t count);            // 14633000000000 -> "14.633T": as recipes read it
std::string as_bytes(double bytes);             // 29000000 -> "29 MB" (powers of 1000)
std::string as_binary_bytes(double bytes);      // 29e9 -> "27.0 GiB" (powers of 1024): memory
std::string as_duration(double seconds);        // 62 -> "1m02s"
std::string fixed(double value, int decimals);  // 6.9019 -> "6.902"
std::string scientific(double value);           // 0.0005 -> "5.0e-04"

// Rows of cells, padded to the widest of each column; numbers (by their first character) to the
// right. The first row is the heading.
std::string table(const std::vector<std::vector<std::string>>& rows);

}  // namespace tessera
