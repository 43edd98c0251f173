// SPDX-License-Identifier: Apache-2.0
// What a reduction over ranks must give, computed on every rank from everybody's numbers by a
// pairwise tree written down a second time.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels/base/random.h"
#include "kernels/base/tensor.h"
#include "parallel/communicator.h"

namespace tessera::test {

template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, bf16> || std::is_same_v<T, f16>, float, T>;

template <typename T>
T drawn(const Philox& philox, uint64_t index) {
  const double value = 8 * philox.uniform(index) - 4;
  if constexpr (std::is_same_v<T, int64_t>)
    return static_cast<int64_t>(philox.bits(index) >> 4) - (int64_t{1} << 58);
  else if constexpr (std::is_same_v<T, int32_t>)
    return static_cast<int32_t>(philox.bits(index) >> 36) - (1 << 27);
  else if constexpr (std::is_same_v<T, double>)
    return value;
  else
    return Narrow<T>::from(static_cast<float>(value));
}

template <typename T>
Wide<T> wide(T value) {
  if constexpr (std::is_same_v<T, Wide<T>>)
    return value;
  else
    return to_float(value);
}

template <typename W>
W pair(W a, W b, Reduce op) {
  return op == Reduce::sum ? a + b : op == Reduce::max ? std::max(a, b) : std::min(a, b);
}

// Reduces parts in place, level by level.
template <typename W>
W tree(std::vector<W>& parts, Reduce op) {
  for (size_t left = parts.size(); left > 1; left = (left + 1) / 2)
    for (size_t i = 0; i < left; i += 2)
      parts[i / 2] = i + 1 < left ? pair(parts[i], parts[i + 1], op) : parts[i];
  return parts[0];
}

// Calls function with the C++ type of a dtype that is summed over ranks.
template <typename Function>
void with_type(DType dtype, Function&& function) {
  visit(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (!std::is_same_v<T, f8_e4m3>) function(tag);
  });
}

inline Tensor numbers_of(int rank, DType dtype, int64_t size) {
  const Tensor x(Device{}, dtype, {size});
  const Philox philox{static_cast<uint64_t>(rank) + 1, 7};
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t i = 0; i < size; ++i) x.as<T>()[i] = drawn<T>(philox, static_cast<uint64_t>(i));
  });
  return x;
}

// The reduction of numbers_of() all ranks, from `first` on; `rounded`: in dtype, else in its
// accumulation type.
inline Tensor reduced(int ranks, DType dtype, int64_t size, Reduce op, bool rounded = true,
                      int first = 0) {
  const Tensor out(Device{}, rounded ? dtype : accumulation_type(dtype), {size});
  std::vector<Tensor> all;
  for (int rank = 0; rank < ranks; ++rank) all.push_back(numbers_of(first + rank, dtype, size));
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::vector<Wide<T>> parts(all.size());
    for (int64_t i = 0; i < size; ++i) {
      for (size_t rank = 0; rank < all.size(); ++rank) parts[rank] = wide(all[rank].as<T>()[i]);
      const Wide<T> value = tree(parts, op);
      if constexpr (std::is_same_v<T, Wide<T>>)
        out.as<T>()[i] = value;
      else if (rounded)
        out.as<T>()[i] = Narrow<T>::from(value);
      else
        out.as<float>()[i] = value;
    }
  });
  return out;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), static_cast<size_t>(a.bytes())) == 0;
}

}  // namespace tessera::test
