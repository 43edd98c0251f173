// SPDX-License-Identifier: Apache-2.0
#include "trainer/hub/config_json.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "checkpoint/json.h"
#include "kernels/base/check.h"

namespace tessera {

using nlohmann::json;

ConfigJson::ConfigJson(const std::string& text, const std::string& where)
    : ConfigJson(std::make_shared<const json>(parse_json(text, where)), where) {}

ConfigJson::ConfigJson(std::shared_ptr<const json> object, std::string where)
    : object_(std::move(object)), where_(std::move(where)) {
  if (!object_->is_object()) refuse("is no object");
}

bool ConfigJson::has(const char* key) const {
  return object_->contains(key) && !at(key).is_null();
}

bool ConfigJson::absent(const char* key) const {
  return !object_->contains(key);
}

bool ConfigJson::empty() const {
  return object_->empty();
}

int64_t ConfigJson::integer(const char* key, int64_t otherwise) const {
  if (!has(key)) return otherwise;
  if (!at(key).is_number_integer()) refuse(std::string(key) + " wants a whole number");
  return at(key).get<int64_t>();
}

int64_t ConfigJson::integer(const char* key) const {
  if (!has(key)) refuse(std::string(key) + " is missing");
  return integer(key, 0);
}

double ConfigJson::number(const char* key, double otherwise) const {
  if (!has(key)) return otherwise;
  if (!at(key).is_number()) refuse(std::string(key) + " wants a number");
  return at(key).get<double>();
}

bool ConfigJson::boolean(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!at(key).is_boolean()) refuse(std::string(key) + " wants true or false");
  return at(key).get<bool>();
}

std::string ConfigJson::text(const char* key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  if (!at(key).is_string()) refuse(std::string(key) + " wants text");
  return at(key).get<std::string>();
}

ConfigJson ConfigJson::inside(const char* key) const {
  return {std::shared_ptr<const json>(object_, &at(key)), where_ + ": " + key};
}

std::string ConfigJson::written(bool value) {
  return json(value).dump();
}

std::string ConfigJson::written(int64_t value) {
  return json(value).dump();
}

std::string ConfigJson::written(double value) {
  return json(value).dump();
}

std::string ConfigJson::written(const std::string& value) {
  return json(value).dump();
}

void ConfigJson::knows(std::initializer_list<std::string_view> keys) const {
  for (const auto& [key, value] : object_->items())
    if (std::find(keys.begin(), keys.end(), key) == keys.end())
      refuse("the key " + key + " may change what is computed, and Tessera does not know it");
}

void ConfigJson::refuse(const std::string& what) const {
  fail(ErrorKind::checkpoint, where_ + ": " + what);
}

const json& ConfigJson::at(const char* key) const {
  return (*object_)[key];
}

}  // namespace tessera
