// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe/scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <vector>

namespace tessera {
namespace {

std::string without_underscores(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool between =
        i > 0 && i + 1 < text.size() && std::isdigit(text[i - 1]) && std::isdigit(text[i + 1]);
    if (text[i] != '_' || !between) plain += text[i];
  }
  return plain;
}

// The number at the front of `text`; `rest` gets what follows. False when there is none.
bool leading_number(const std::string& text, double& value, std::string& rest) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec != std::errc()) return false;
  rest.assign(result.ptr, end);
  return std::isfinite(value);
}

struct Unit {
  const char* name;
  double factor;
};
constexpr std::array<Unit, 8> kCounts = {{{"", 1},
                                          {"K", 1e3},
                                          {"M", 1e6},
                                          {"B", 1e9},
                                          {"T", 1e12},
                                          {"Ki", 1024},
                                          {"Mi", 1048576},
                                          {"Gi", 1073741824}}};
constexpr std::array<Unit, 4> kTimes = {{{"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}}};

template <size_t N>
const Unit* unit_named(const std::array<Unit, N>& units, const std::string& name) {
  for (const Unit& unit : units)
    if (name == unit.name) return &unit;
  return nullptr;
}

// 1.003K is 1003: a decimal fraction has no double of its own, so its product may be a roundoff
// away from the whole number that is meant.
double in_units(double value, const Unit& unit) {
  constexpr double kRoundoffs = 4;
  const double product = value * unit.factor, whole = std::round(product);
  const double slack = kRoundoffs * std::numeric_limits<double>::epsilon() * std::abs(product);
  return unit.factor > 1 && std::abs(product - whole) <= slack ? whole : product;
}

}  // namespace

int64_t parse_integer(const std::string& text) {
  double value = 0;
  std::string rest;
  const bool number = leading_number(without_underscores(text), value, rest);
  const Unit* unit = number ? unit_named(kCounts, rest) : nullptr;
  const double whole = unit ? in_units(value, *unit) : 0;
  if (!unit || whole != std::floor(whole) || std::abs(whole) > 9e15) {
    const bool letter_o = text.find_first_of("oO") != std::string::npos &&
                          text.find_first_not_of("0123456789oO_") == std::string::npos;
    throw ScalarError("wants a whole number, got \"" + text + "\"" +
                      (letter_o ? " (letter o?)" : ""));
  }
  return static_cast<int64_t>(whole);
}

double parse_number(const std::string& text) {
  double value = 0;
  std::string rest;
  if (!leading_number(without_underscores(text), value, rest) || !rest.empty())
    throw ScalarError("wants a number, got \"" + text + "\"");
  return value;
}

bool parse_bool(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  throw ScalarError("wants true or false, got \"" + text + "\"");
}

bool looks_like_duration(const std::string& text) {
  double value = 0;
  std::string rest;
  return leading_number(text, value, rest) && (rest == "m" || unit_named(kTimes, rest));
}

double parse_duration(const std::string& text) {
  double value = 0;
  std::string rest;
  if (leading_number(text, value, rest)) {
    if (rest == "m")
      throw ScalarError("`" + text + "`: use " + text.substr(0, text.size() - 1) +
                        "min (m is ambiguous)");
    if (const Unit* unit = unit_named(kTimes, rest); unit && value >= 0)
      return value * unit->factor;
  }
  throw ScalarError("wants a duration like 30s, 10min or 2h, got \"" + text + "\"");
}

std::string format_number(double value) {
  std::array<char, 32> buffer;
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), result.ptr);
}

int edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<int>> cost(a.size() + 1, std::vector<int>(b.size() + 1, 0));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = static_cast<int>(i);
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      const int replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  return cost[a.size()][b.size()];
}

}  // namespace tessera
