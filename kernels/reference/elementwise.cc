// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise.h"

#include <cmath>

namespace tessera::reference {
namespace {
template <typename Function>
void for_each_element(const Tensor& shape, Function function) {
  for (int64_t row = 0; row < shape.rows(); ++row)
    for (int64_t column = 0; column < shape.columns(); ++column) function(row, column);
}

double sigmoid(double z) {
  return 1 / (1 + std::exp(-z));
}
}  // namespace

void add(Stream&, const Tensor& a, const Tensor& b, const Tensor& out) {
  for_each_element(out, [&](int64_t r, int64_t c) {
    out.row<double>(r)[c] = a.row<double>(r)[c] + b.row<double>(r)[c];
  });
}

void scale(Stream&, const Tensor& in, double factor, const Tensor& out) {
  for_each_element(
      out, [&](int64_t r, int64_t c) { out.row<double>(r)[c] = factor * in.row<double>(r)[c]; });
}

void swiglu(Stream&, const Tensor& gate, const Tensor& up, const Tensor& y) {
  for_each_element(y, [&](int64_t r, int64_t c) {
    const double z = gate.row<double>(r)[c];
    y.row<double>(r)[c] = z * sigmoid(z) * up.row<double>(r)[c];
  });
}

void swiglu_backward(Stream&, const Tensor& gate, const Tensor& up, const Tensor& dy,
                     const Tensor& dgate, const Tensor& dup) {
  for_each_element(dy, [&](int64_t r, int64_t c) {
    const double z = gate.row<double>(r)[c], s = sigmoid(z);
    const double gradient = dy.row<double>(r)[c], factor = up.row<double>(r)[c];
    dgate.row<double>(r)[c] = gradient * factor * s * (1 + z * (1 - s));
    dup.row<double>(r)[c] = gradient * z * s;
  });
}

}  // namespace tessera::reference
