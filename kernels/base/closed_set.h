// SPDX-License-Identifier: Apache-2.0
// Closed sets of words: an enum and, beside it, the one table of its names, which readers, writers,
// help and errors share.
//
//   enum class Balance { none, aux_free };
//   template <>
//   inline constexpr auto kNames<Balance> = std::array{"none", "aux_free"};
//
// Enumerators count from 0 and the table has one name for each, in their order.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

template <typename E>
inline constexpr std::array<const char*, 0> kNames{};

template <typename E>
constexpr const char* name_of(E value) {
  return kNames<E>[static_cast<size_t>(value)];
}

// None: no value has this name.
template <typename E>
constexpr std::optional<E> value_named(std::string_view name) {
  for (size_t i = 0; i < kNames<E>.size(); ++i)
    if (name == kNames<E>[i]) return static_cast<E>(i);
  return std::nullopt;
}

template <typename E>
std::vector<std::string> names_of() {
  return {kNames<E>.begin(), kNames<E>.end()};
}

}  // namespace tessera
