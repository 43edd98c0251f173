// SPDX-License-Identifier: Apache-2.0
// The scalars of recipes and command lines, parsed strictly and the same way everywhere:
//   whole numbers  150  1_000  1e3  64Ki  2M  1B   (K M B T = powers of 1000, Ki Mi Gi = of 1024)
//   numbers        0.1  1e-3
//   true | false   and nothing else
//   durations      30s  10min  2h  1d              (`m` is refused: minutes or months?)
// Each throws ScalarError with a sentence that says what was wanted.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace tessera {

struct ScalarError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A value of the right kind breaks a rule: the error is shown at the key, like those of validate().
struct RuleError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

int64_t parse_integer(const std::string& text);
double parse_number(const std::string& text);
bool parse_bool(const std::string& text);
double parse_duration(const std::string& text);  // seconds
bool looks_like_duration(const std::string& text);

// Shortest text that reads back as the same double.
std::string format_number(double value);

// Edits (insert, delete, replace, swap neighbours) between two words: for "did you mean".
int edit_distance(const std::string& a, const std::string& b);

}  // namespace tessera
