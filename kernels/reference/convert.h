// SPDX-License-Identifier: Apache-2.0
// One element to and from double, for every element type, with a single rounding.
#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/base/half.h"

namespace tessera::reference {

template <typename T>
double to_double(T value) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<double>(value);
  else
    return static_cast<double>(to_float(value));
}

// Rounding to odd keeps a sticky bit, so that the second rounding, to a type at least two bits
// narrower than f32, is correct (Boldo & Melquiond, "Emulation of FMA and correctly rounded sums").
inline float round_to_odd(double value) {
  float near = static_cast<float>(value);
  if (std::isnan(near) || static_cast<double>(near) == value) return near;
  if (std::abs(static_cast<double>(near)) > std::abs(value)) near = std::nextafter(near, 0.0f);
  return float_of(bits_of(near) | 1u);
}

template <typename T>
T from_double(double value) {
  if constexpr (std::is_arithmetic_v<T>)
    return static_cast<T>(value);
  else
    return Narrow<T>::from(round_to_odd(value));
}

}  // namespace tessera::reference
