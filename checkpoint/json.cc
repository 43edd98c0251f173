// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/json.h"

#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

#include "kernels/base/check.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr int kDeepest = 8;  // our own files need five
constexpr int kHexadecimal = 16;
constexpr size_t kMostOfMessage = 300;  // bytes of the parser's own words

[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  fail(ErrorKind::checkpoint, where + ": is damaged: " + what);
}

// The closing quote of the string that opens at `open`, or the end of the text.
size_t end_of_string(const std::string& text, size_t open) {
  for (size_t at = open + 1; at < text.size(); ++at) {
    at = text.find('"', at);
    if (at == std::string::npos) break;
    size_t backslashes = 0;
    while (text[at - 1 - backslashes] == '\\') ++backslashes;
    if (backslashes % 2 == 0) return at;
  }
  return text.size();
}

// Right for any text up to its first mistake, where the parser stops.
int deepest_nesting(const std::string& text) {
  int depth = 0, deepest = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') at = end_of_string(text, at);
    if (c == '[' || c == '{') deepest = std::max(deepest, ++depth);
    if (c == ']' || c == '}') --depth;
  }
  return deepest;
}

// The parser's words end with what it read last, which may be a string of megabytes.
std::string shortened(std::string words) {
  size_t end = kMostOfMessage;
  if (words.size() <= end) return words;
  while ((static_cast<unsigned char>(words[end]) & 0xc0) == 0x80) --end;  // whole characters only
  return words.substr(0, end) + " ...";
}

}  // namespace

json parse_json(const std::string& text, const std::string& where) {
  // Looked at beforehand: a callback of the parser would cost half its speed.
  if (deepest_nesting(text) > kDeepest) damaged(where, "brackets are nested too deeply");
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    damaged(where, "not JSON: " + shortened(error.what()));
  }
}

const json& member(const json& object, const char* key, const std::string& where) {
  if (!object.is_object()) damaged(where, std::string("no object around `") + key + "`");
  const auto found = object.find(key);
  if (found == object.end()) damaged(where, std::string("`") + key + "` is missing");
  return *found;
}

int64_t integer_member(const json& object, const char* key, int64_t least, int64_t most,
                       const std::string& where) {
  const json& value = member(object, key, where);
  const bool fits =
      value.is_number_unsigned() ? value.get<uint64_t>() <= INT64_MAX : value.is_number_integer();
  if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most)
    damaged(where, std::string("`") + key + "` must be a whole number from " +
                       std::to_string(least) + " to " + std::to_string(most));
  return value.get<int64_t>();
}

std::string text_member(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key, where);
  if (!value.is_string()) damaged(where, std::string("`") + key + "` must be a string");
  return value.get<std::string>();
}

std::vector<int64_t> list_member(const json& object, const char* key, size_t most,
                                 const std::string& where) {
  const json& value = member(object, key, where);
  if (!value.is_array() || value.size() > most)
    damaged(where, std::string("`") + key + "` must be a list of at most " + std::to_string(most));
  std::vector<int64_t> list;
  for (const json& item : value) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > INT64_MAX)
      damaged(where, std::string("`") + key + "` must hold whole numbers from 0");
    list.push_back(item.get<int64_t>());
  }
  return list;
}

uint32_t parse_crc(std::string_view digits, const char* key, const std::string& where) {
  uint32_t crc = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), crc, kHexadecimal);
  const bool whole = error == std::errc() && end == digits.data() + digits.size();
  // from_chars takes capitals, too; every value has one spelling here.
  const bool small =
      std::none_of(digits.begin(), digits.end(), [](char c) { return c >= 'A' && c <= 'F'; });
  if (digits.size() != 8 || !whole || !small)
    damaged(where, std::string("`") + key + "` must be eight hex digits a checksum");
  return crc;
}

uint32_t crc_member(const json& object, const char* key, const std::string& where) {
  return parse_crc(text_member(object, key, where), key, where);
}

std::string quoted(const std::string& text) {
  try {
    return json(text).dump();
  } catch (const json::exception&) {
    fail(ErrorKind::internal, "checkpoint: a text to be saved is not UTF-8");
  }
}

std::string list_text(const std::vector<int64_t>& values) {
  std::string text = "[";
  for (size_t i = 0; i < values.size(); ++i) text += (i ? "," : "") + std::to_string(values[i]);
  return text + "]";
}

}  // namespace tessera
