// SPDX-License-Identifier: Apache-2.0
// Matrix product  C = op(A) op(B)  or  C += op(A) op(B).
//   op(A): (M, K), op(B): (K, N), C: (M, N); each may have a pitch; op is the identity or the
//   transpose. A and B share one floating dtype T; C is T or accumulation_type(T).
// Sums are kept in accumulation_type(T). The result of a CPU gemm does not depend on the number of
// threads, and a row of C does not depend on the number of rows (docs/numerics.md).
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

struct Gemm {
  Tensor a;
  Tensor b;
  Tensor c;  // written
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  // true: C += ..., C must be of accumulation_type(T)

  int64_t m() const { return transpose_a ? a.columns() : a.rows(); }
  int64_t k() const { return transpose_a ? a.rows() : a.columns(); }
  int64_t n() const { return transpose_b ? b.rows() : b.columns(); }
};

void gemm(Stream& stream, const Gemm& product);

}  // namespace tessera
