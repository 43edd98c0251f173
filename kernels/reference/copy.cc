// SPDX-License-Identifier: Apache-2.0
#include "kernels/copy.h"

#include <cstring>

#include "kernels/reference/convert.h"

namespace tessera::reference {

void copy(Stream&, const Tensor& in, const Tensor& out) {
  const int64_t size = size_of(in.dtype());
  for (int64_t row = 0; row < in.rows(); ++row)
    std::memmove(static_cast<std::byte*>(out.data()) + row * out.pitch() * size,
                 static_cast<const std::byte*>(in.data()) + row * in.pitch() * size,
                 static_cast<size_t>(in.columns() * size));
}

void cast(Stream&, const Tensor& in, const Tensor& out) {
  visit(in.dtype(), [&](auto from) {
    visit(out.dtype(), [&](auto to) {
      using From = typename decltype(from)::type;
      using To = typename decltype(to)::type;
      for (int64_t row = 0; row < in.rows(); ++row)
        for (int64_t column = 0; column < in.columns(); ++column)
          out.row<To>(row)[column] = from_double<To>(to_double(in.row<From>(row)[column]));
    });
  });
}

void fill(Stream&, double value, const Tensor& out) {
  visit(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t row = 0; row < out.rows(); ++row)
      for (int64_t column = 0; column < out.columns(); ++column)
        out.row<T>(row)[column] = from_double<T>(value);
  });
}

void transpose(Stream&, const Tensor& in, const Tensor& out) {
  visit(in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t row = 0; row < in.rows(); ++row)
      for (int64_t column = 0; column < in.columns(); ++column)
        out.row<T>(column)[row] = in.row<T>(row)[column];
  });
}

}  // namespace tessera::reference
