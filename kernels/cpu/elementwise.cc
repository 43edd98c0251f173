// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise.h"

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {

void add(Stream&, const Tensor& a, const Tensor& b, const Tensor& out) {
  const bool flat = a.contiguous() && b.contiguous() && out.contiguous();
  for_chunks(a.rows(), a.columns(), flat, [&](int64_t row, int64_t first, int64_t count) {
    loops().elementwise.add(element_of(a), at(a, row, first), at(b, row, first),
                            at(out, row, first), count);
  });
}

void scale(Stream&, const Tensor& in, double factor, const Tensor& out) {
  const bool flat = in.contiguous() && out.contiguous();
  for_chunks(in.rows(), in.columns(), flat, [&](int64_t row, int64_t first, int64_t count) {
    loops().elementwise.scale(element_of(in), at(in, row, first), static_cast<float>(factor),
                              at(out, row, first), count);
  });
}

void swiglu(Stream&, const Tensor& gate, const Tensor& up, const Tensor& y) {
  const bool flat = gate.contiguous() && up.contiguous() && y.contiguous();
  for_chunks(y.rows(), y.columns(), flat, [&](int64_t row, int64_t first, int64_t count) {
    loops().elementwise.swiglu(element_of(y), at(gate, row, first), at(up, row, first),
                               at(y, row, first), count);
  });
}

void swiglu_backward(Stream&, const Tensor& gate, const Tensor& up, const Tensor& dy,
                     const Tensor& dgate, const Tensor& dup) {
  const bool flat = gate.contiguous() && up.contiguous() && dy.contiguous() && dgate.contiguous() &&
                    dup.contiguous();
  for_chunks(dy.rows(), dy.columns(), flat, [&](int64_t row, int64_t first, int64_t count) {
    loops().elementwise.swiglu_backward(element_of(dy), at(gate, row, first), at(up, row, first),
                                        at(dy, row, first), at(dgate, row, first),
                                        at(dup, row, first), count);
  });
}

}  // namespace tessera::cpu
