// SPDX-License-Identifier: Apache-2.0
#include "launch/report/format.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>

namespace tessera {

std::string fixed(double value, int decimals) {
  std::array<char, 64> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, value);
  return buffer.data();
}

std::string scientific(double value) {
  std::array<char, 64> buffer;
  std::snprintf(buffer.data(), buffer.size(), "%.1e", value);
  return buffer.data();
}

std::string with_prefix(double value) {
  static constexpr std::array<const char*, 5> kPrefixes = {"", "k", "M", "G", "T"};
  size_t prefix = 0;
  while (std::abs(value) >= 999.5 && prefix + 1 < kPrefixes.size()) {  // 999.7 is shown as 1.00k
    value /= 1000;
    ++prefix;
  }
  const int decimals = prefix == 0 ? 0 : (value < 9.995 ? 2 : (value < 99.95 ? 1 : 0));
  return fixed(value, decimals) + kPrefixes[prefix];
}

// At most three decimals, and no zeros at their end.
std::string as_count(int64_t count) {
  static constexpr std::array<const char*, 5> kUnits = {"", "K", "M", "B", "T"};
  auto value = static_cast<double>(count);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  std::string text = fixed(value, 3);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text + kUnits[unit];
}

std::string as_bytes(double bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return fixed(bytes, bytes < 9.95 && unit > 0 ? 1 : 0) + " " + kUnits[unit];
}

std::string as_binary_bytes(double bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1023.5 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return fixed(bytes, unit > 0 && bytes < 99.95 ? 1 : 0) + " " + kUnits[unit];
}

std::string as_duration(double seconds) {
  if (seconds < 9.95) return fixed(seconds, 1) + "s";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  std::array<char, 64> buffer;
  if (whole < 60)
    std::snprintf(buffer.data(), buffer.size(), "%llds", static_cast<long long>(whole));
  else if (whole < 3600)
    std::snprintf(buffer.data(), buffer.size(), "%lldm%02llds", static_cast<long long>(whole / 60),
                  static_cast<long long>(whole % 60));
  else
    std::snprintf(buffer.data(), buffer.size(), "%lldh%02lldm",
                  static_cast<long long>(whole / 3600), static_cast<long long>(whole / 60 % 60));
  return buffer.data();
}

std::string table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows)
    for (size_t column = 0; column < row.size(); ++column) {
      if (column >= widths.size()) widths.push_back(0);
      widths[column] = std::max(widths[column], row[column].size());
    }
  const auto numeric = [&](size_t column) {
    return std::all_of(rows.begin() + 1, rows.end(), [&](const auto& row) {
      return column >= row.size() || row[column].empty() || row[column] == "-" ||
             std::isdigit(static_cast<unsigned char>(row[column][0])) || row[column][0] == '-';
    });
  };
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t column = 0; column < row.size(); ++column) {
      const std::string pad(widths[column] - row[column].size(), ' ');
      line += numeric(column) ? pad + row[column] : row[column] + pad;
      line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace tessera
