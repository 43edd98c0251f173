// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm.h"

#include <cmath>

namespace tessera::reference {

void rms_norm(Stream&, const Tensor& x, const Tensor& weight, double epsilon, const Tensor& y,
              const Tensor& inv_rms) {
  const double* w = weight.as<double>();
  const int64_t width = x.columns();
  for (int64_t r = 0; r < x.rows(); ++r) {
    const double* in = x.row<double>(r);
    double squares = 0;
    for (int64_t i = 0; i < width; ++i) squares += in[i] * in[i];
    const double inv = 1 / std::sqrt(squares / static_cast<double>(width) + epsilon);
    inv_rms.as<double>()[r] = inv;
    for (int64_t i = 0; i < width; ++i) y.row<double>(r)[i] = in[i] * inv * w[i];
  }
}

void rms_norm_backward_input(Stream&, const Tensor& x, const Tensor& weight, const Tensor& inv_rms,
                             const Tensor& dy, const Tensor& dx) {
  const double* w = weight.as<double>();
  const int64_t width = x.columns();
  for (int64_t r = 0; r < x.rows(); ++r) {
    const double *in = x.row<double>(r), *gradient = dy.row<double>(r);
    const double inv = inv_rms.as<double>()[r];
    double dot = 0;
    for (int64_t i = 0; i < width; ++i) dot += gradient[i] * w[i] * in[i] * inv;
    const double mean = dot / static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i)
      dx.row<double>(r)[i] = inv * (gradient[i] * w[i] - in[i] * inv * mean);
  }
}

void rms_norm_backward_weight(Stream&, const Tensor& x, const Tensor& inv_rms, const Tensor& dy,
                              const Tensor& dweight) {
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t i = 0; i < x.columns(); ++i)
      dweight.as<double>()[i] +=
          dy.row<double>(r)[i] * x.row<double>(r)[i] * inv_rms.as<double>()[r];
}

}  // namespace tessera::reference
