// SPDX-License-Identifier: Apache-2.0
// Reading JSON that a stranger may have written. parse_json() bounds the nesting and never
// recurses; the Field functions return a member of an object with its type and range checked. Every
// failure is Error{checkpoint} that starts with `where` (a path, and perhaps a line in it) and
// stays short whatever the text holds. Writing needs only quoted().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace tessera {

nlohmann::json parse_json(const std::string& text, const std::string& where);

const nlohmann::json& member(const nlohmann::json& object, const char* key,
                             const std::string& where);
int64_t integer_member(const nlohmann::json& object, const char* key, int64_t least, int64_t most,
                       const std::string& where);
std::string text_member(const nlohmann::json& object, const char* key, const std::string& where);
// At most `most` integers, all >= 0.
std::vector<int64_t> list_member(const nlohmann::json& object, const char* key, size_t most,
                                 const std::string& where);
// Eight lower-case hex digits.
uint32_t crc_member(const nlohmann::json& object, const char* key, const std::string& where);
uint32_t parse_crc(std::string_view digits, const char* key, const std::string& where);

std::string quoted(const std::string& text);                // a JSON string; text must be UTF-8
std::string list_text(const std::vector<int64_t>& values);  // [1,2,3]

}  // namespace tessera
