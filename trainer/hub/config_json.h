// SPDX-License-Identifier: Apache-2.0
// A ConfigJson gives the values of one config.json by their wanted types, and complains with the
// names of the file and the key. A key that is absent has its family's default; where null means
// something else ("no query compression"), absent() tells the two apart.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "kernels/base/check.h"
#include "kernels/base/closed_set.h"

namespace tessera {

class ConfigJson {
 public:
  ConfigJson(nlohmann::json object, std::string where)
      : object_(std::move(object)), where_(std::move(where)) {
    if (!object_.is_object()) refuse("is no object");
  }

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  bool absent(const char* key) const { return !object_.contains(key); }
  bool empty() const { return object_.empty(); }
  int64_t integer(const char* key, int64_t otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_number_integer()) refuse(std::string(key) + " wants a whole number");
    return object_[key].get<int64_t>();
  }
  int64_t integer(const char* key) const {
    if (!has(key)) refuse(std::string(key) + " is missing");
    return integer(key, 0);
  }
  double number(const char* key, double otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_number()) refuse(std::string(key) + " wants a number");
    return object_[key].get<double>();
  }
  bool boolean(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_boolean()) refuse(std::string(key) + " wants true or false");
    return object_[key].get<bool>();
  }
  std::string text(const char* key, const std::string& otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_[key].is_string()) refuse(std::string(key) + " wants text");
    return object_[key].get<std::string>();
  }
  // A word of a closed set; none when the key is absent.
  template <typename E>
  std::optional<E> word(const char* key) const {
    if (!has(key)) return std::nullopt;
    const std::string given = text(key, "");
    const std::optional<E> value = value_named<E>(given);
    if (!value && !given.empty())
      refuse(std::string(key) + " " + given + "; Tessera has " + list_of<E>());
    return value;
  }
  template <typename E>
  static std::string list_of() {
    std::string list;
    for (const std::string& name : names_of<E>()) list += (list.empty() ? "" : ", ") + name;
    return list;
  }
  ConfigJson inside(const char* key) const { return {object_[key], where_ + ": " + key}; }

  template <typename T>
  void only(const T& value, const T& honoured, const char* key) const {
    if (value != honoured)
      refuse(std::string(key) + ": Tessera has only " + nlohmann::json(honoured).dump());
  }
  // Refuses a key that is none of these, by its name.
  void knows(std::initializer_list<std::string_view> keys) const {
    for (const auto& [key, value] : object_.items())
      if (std::find(keys.begin(), keys.end(), key) == keys.end())
        refuse("the key " + key + " may change what is computed, and Tessera does not know it");
  }
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorKind::checkpoint, where_ + ": " + what);
  }

 private:
  nlohmann::json object_;
  std::string where_;
};

}  // namespace tessera
