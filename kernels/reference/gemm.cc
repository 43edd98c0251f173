// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

namespace tessera::reference {

void gemm(Stream&, const Gemm& product) {
  const auto a = [&](int64_t m, int64_t k) {
    return product.transpose_a ? product.a.row<double>(k)[m] : product.a.row<double>(m)[k];
  };
  const auto b = [&](int64_t k, int64_t n) {
    return product.transpose_b ? product.b.row<double>(n)[k] : product.b.row<double>(k)[n];
  };
  for (int64_t m = 0; m < product.m(); ++m) {
    for (int64_t n = 0; n < product.n(); ++n) {
      double sum = 0;
      for (int64_t k = 0; k < product.k(); ++k) sum += a(m, k) * b(k, n);
      double& c = product.c.row<double>(m)[n];
      c = product.accumulate ? c + sum : sum;
    }
  }
}

void grouped_gemm(Stream& stream, const GroupedGemm& products) {
  for (int64_t group = 0; group < products.groups(); ++group)
    reference::gemm(stream, products.product(group));
}

}  // namespace tessera::reference
