// SPDX-License-Identifier: Apache-2.0
// A ConfigJson gives the values of one config.json by their wanted types, and complains with the
// names of the file and the key. A key that is absent has its family's default; where null means
// something else ("no query compression"), absent() tells the two apart.
#pragma once

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "kernels/base/closed_set.h"

namespace tessera {

class ConfigJson {
 public:
  // where: the file that holds the text.
  ConfigJson(const std::string& text, const std::string& where);

  bool has(const char* key) const;
  bool absent(const char* key) const;
  bool empty() const;
  int64_t integer(const char* key, int64_t otherwise) const;
  int64_t integer(const char* key) const;
  double number(const char* key, double otherwise) const;
  bool boolean(const char* key, bool otherwise) const;
  std::string text(const char* key, const std::string& otherwise) const;
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
  ConfigJson inside(const char* key) const;

  template <typename T>
  void only(const T& value, const T& honoured, const char* key) const {
    if (value != honoured) refuse(std::string(key) + ": Tessera has only " + written(honoured));
  }
  // A value as JSON writes it.
  static std::string written(bool value);
  static std::string written(int64_t value);
  static std::string written(double value);
  static std::string written(const std::string& value);
  // Refuses a key that is none of these, by its name.
  void knows(std::initializer_list<std::string_view> keys) const;
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  ConfigJson(std::shared_ptr<const nlohmann::json> object, std::string where);
  const nlohmann::json& at(const char* key) const;

  std::shared_ptr<const nlohmann::json> object_;
  std::string where_;
};

}  // namespace tessera
