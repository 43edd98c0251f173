// SPDX-License-Identifier: Apache-2.0
#include "kernels/copy.h"

#include <cstring>

#include "kernels/cpu/parallel.h"
#include "kernels/reference/convert.h"

namespace tessera {
namespace reference {
decltype(tessera::cast) cast;
}

namespace cpu {

void copy(Stream&, const Tensor& in, const Tensor& out) {
  const bool flat = in.contiguous() && out.contiguous();
  const int64_t size = size_of(in.dtype());
  for_chunks(in.rows(), in.columns(), flat, [&](int64_t row, int64_t first, int64_t count) {
    std::memmove(at(out, row, first), at(in, row, first), static_cast<size_t>(count * size));
  });
}

void cast(Stream& stream, const Tensor& in, const Tensor& out) {
  // f64 and f8 are for files and tests: no need for speed.
  if (!has_loops(in.dtype()) || !has_loops(out.dtype())) return reference::cast(stream, in, out);
  const bool flat = in.contiguous() && out.contiguous();
  const Element from = element_of(in), to = element_of(out);
  for_chunks(in.rows(), in.columns(), flat, [&](int64_t row, int64_t first, int64_t count) {
    loops().elementwise.cast(from, at(in, row, first), to, at(out, row, first), count);
  });
}

void fill(Stream&, double value, const Tensor& out) {
  visit(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T element = reference::from_double<T>(value), zero{};
    // Gradients are cleared every step: the C library does that at the memory's pace.
    const bool clear = std::memcmp(&element, &zero, sizeof element) == 0;
    for_chunks(out.rows(), out.columns(), out.contiguous(),
               [&](int64_t row, int64_t first, int64_t count) {
                 auto* to = reinterpret_cast<T*>(at(out, row, first));
                 if (clear)
                   std::memset(to, 0, static_cast<size_t>(count) * sizeof element);
                 else
                   std::fill_n(to, count, element);
               });
  });
}

void transpose(Stream&, const Tensor& in, const Tensor& out) {
  constexpr int64_t kBlock = 32;  // two blocks of any type stay in the first-level cache
  visit(in.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    parallel_for(divide_up(in.rows(), kBlock), [&](int64_t task) {
      const int64_t begin = task * kBlock, end = std::min(in.rows(), begin + kBlock);
      for (int64_t first = 0; first < in.columns(); first += kBlock) {
        const int64_t last = std::min(in.columns(), first + kBlock);
        for (int64_t column = first; column < last; ++column) {
          T* to = out.row<T>(column);
          for (int64_t row = begin; row < end; ++row) to[row] = in.row<T>(row)[column];
        }
      }
    });
  });
}

}  // namespace cpu
}  // namespace tessera
