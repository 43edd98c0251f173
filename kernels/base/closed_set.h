// SPDX-License-Identifier: Apache-2.0
// A closed set of words is an enum and, beside it, the one table of its words, which readers,
// writers, help and errors share.
//
//   enum class Balance { none, aux_free };
//   template <>
//   inline constexpr auto kWords<Balance> = std::array{"none", "aux_free"};
//
// Enumerators count from 0 and the table has one word for each, in their order.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

template <typename E>
inline constexpr std::array<const char*, 0> kWords{};

template <typename E>
constexpr const char* name_of(E value) {
  return kWords<E>[static_cast<size_t>(value)];
}

// None: no value has this name.
template <typename E>
constexpr std::optional<E> value_named(std::string_view name) {
  for (size_t i = 0; i < kWords<E>.size(); ++i)
    if (name == kWords<E>[i]) return static_cast<E>(i);
  return std::nullopt;
}

template <typename E>
std::vector<std::string> names_of() {
  return {kWords<E>.begin(), kWords<E>.end()};
}

}  // namespace tessera
