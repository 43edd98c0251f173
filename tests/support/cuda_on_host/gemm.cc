// SPDX-License-Identifier: Apache-2.0
// In the place of kernels/cuda/gemm_cublaslt.cc: plain loops with sums in f32.
#include "kernels/gemm.h"

#include "kernels/base/half.h"

namespace tessera::cuda {
namespace {

float single(float value) {
  return value;
}
template <typename T>
float single(T value) {
  return to_float(value);
}

template <typename T, typename Out>
void multiply(const Gemm& product) {
  const Tensor &a = product.a, &b = product.b;
  for (int64_t m = 0; m < product.m(); ++m)
    for (int64_t n = 0; n < product.n(); ++n) {
      float sum = 0;
      for (int64_t k = 0; k < product.k(); ++k)
        sum += single(product.transpose_a ? a.row<T>(k)[m] : a.row<T>(m)[k]) *
               single(product.transpose_b ? b.row<T>(n)[k] : b.row<T>(k)[n]);
      Out& c = product.c.row<Out>(m)[n];
      c = Narrow<Out>::from(product.accumulate ? single(c) + sum : sum);
    }
}

}  // namespace

void gemm(Stream&, const Gemm& product) {
  const bool narrow = product.c.dtype() == product.a.dtype();
  switch (product.a.dtype()) {
    case DType::f32: return multiply<float, float>(product);
    case DType::bf16:
      return narrow ? multiply<bf16, bf16>(product) : multiply<bf16, float>(product);
    case DType::f16: return narrow ? multiply<f16, f16>(product) : multiply<f16, float>(product);
    default: fail(ErrorKind::internal, "no products of", name(product.a.dtype()));
  }
}

}  // namespace tessera::cuda
