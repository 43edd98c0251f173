// SPDX-License-Identifier: Apache-2.0
// Element-wise arithmetic. All tensors of one call have the same shape and floating dtype;
// arithmetic in accumulation_type, one rounding at the end. Outputs may be inputs.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// out = a + b
void add(Stream& stream, const Tensor& a, const Tensor& b, const Tensor& out);

// out = factor * in
void scale(Stream& stream, const Tensor& in, double factor, const Tensor& out);

// SwiGLU (Shazeer, "GLU variants improve Transformer", arXiv:2002.05202, eq 6):
//   y = silu(gate) * up,  silu(z) = z / (1 + exp(-z))
void swiglu(Stream& stream, const Tensor& gate, const Tensor& up, const Tensor& y);

// dgate = dy * up * s * (1 + gate * (1 - s)) with s = 1 / (1 + exp(-gate));  dup = dy * silu(gate)
void swiglu_backward(Stream& stream, const Tensor& gate, const Tensor& up, const Tensor& dy,
                     const Tensor& dgate, const Tensor& dup);

}  // namespace tessera
