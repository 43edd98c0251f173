// SPDX-License-Identifier: Apache-2.0
// Moving elements: copy, cast, fill, transpose. Every tensor on the stream's device.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// out = in, same shape and dtype; either may have a pitch. Nothing is done when both are the same
// elements.
void copy(Stream& stream, const Tensor& in, const Tensor& out);

// out = in converted to out's floating dtype, rounded to nearest even; same shape.
void cast(Stream& stream, const Tensor& in, const Tensor& out);

// Every element of out = value (converted to out's dtype).
void fill(Stream& stream, double value, const Tensor& out);

// out (columns, rows) = in (rows, columns) transposed; same dtype.
void transpose(Stream& stream, const Tensor& in, const Tensor& out);

}  // namespace tessera
