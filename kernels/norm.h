// SPDX-License-Identifier: Apache-2.0
// Root-mean-square norm of each row (Zhang & Sennrich, arXiv:1910.07467):
//   y = x * inv_rms * weight,   inv_rms = 1 / sqrt(mean(x^2) + epsilon)
// x, y, dx, dy: (rows, width) of dtype T; weight: (width) T; inv_rms: (rows) accumulation_type(T).
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// Writes y and inv_rms.
void rms_norm(Stream& stream, const Tensor& x, const Tensor& weight, double epsilon,
              const Tensor& y, const Tensor& inv_rms);

// With g = dy * weight and n = x * inv_rms:  dx = inv_rms * (g - n * mean(g * n)).  Writes dx.
void rms_norm_backward_input(Stream& stream, const Tensor& x, const Tensor& weight,
                             const Tensor& inv_rms, const Tensor& dy, const Tensor& dx);

// dweight (width, accumulation_type(T)) += sum over rows of dy * x * inv_rms, rows added in fixed
// blocks whatever the number of threads.
void rms_norm_backward_weight(Stream& stream, const Tensor& x, const Tensor& inv_rms,
                              const Tensor& dy, const Tensor& dweight);

}  // namespace tessera
