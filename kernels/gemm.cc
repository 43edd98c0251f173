// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {

void gemm(Stream& stream, const Gemm& product) {
  const Arguments arguments(stream, "gemm:");
  const Argument a{"a", product.a}, b{"b", product.b}, c{"c", product.c};
  arguments.on_device({a, b, c});
  arguments.computable(a);
  arguments.same_type(a, b);
  const int64_t inner = product.transpose_b ? product.b.columns() : product.b.rows();
  check(inner == product.k(), "gemm: inner sizes of op(a) and op(b) differ:", product.k(), inner);
  arguments.matrix(c, product.m(), product.n());
  const DType sums = accumulation_type(product.a.dtype());
  if (product.accumulate || product.c.dtype() != product.a.dtype()) arguments.of_type(c, sums);
  if (product.c.size() == 0) return;
  stream.backend().gemm(stream, product);
}

}  // namespace tessera
