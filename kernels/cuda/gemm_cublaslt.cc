// SPDX-License-Identifier: Apache-2.0
// Matrix products by cuBLASLt, the only home of <cublasLt.h>. Its matrices are column after column,
// so ours, row after row, are their transposes: C = op(A) op(B) becomes C^T = op(B)^T op(A)^T,
// which takes no copy, only the operands in the other order.
//
// Sums are f32. f32 operands are multiplied in f32, or, on a device that was told to (set_tf32()),
// rounded to TF32 (10 bits of mantissa) for the tensor cores. Sums over pieces of the depth are
// kept in f32 and added in order, never by atomics. Which algorithm suits a shape is asked once and
// kept; it may differ with the number of rows, so here, unlike on the CPU, a row's bits may depend
// on it.
#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <tuple>

#include <cublasLt.h>

#include "kernels/copy.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/native.h"
#include "kernels/gemm.h"

namespace tessera {
namespace {

void check(cublasStatus_t result, const char* what, Where where = Where()) {
  if (result == CUBLAS_STATUS_SUCCESS) return;
  throw Error(result == CUBLAS_STATUS_ALLOC_FAILED ? ErrorKind::capacity : ErrorKind::peer,
              std::string("cuBLASLt: ") + what + ": " + cublasLtGetStatusString(result), where);
}

}  // namespace

namespace cuda {
decltype(tessera::fill) fill;
namespace {

constexpr size_t kMostDevices = 64;                  // of a node
constexpr size_t kMostWorkspace = size_t{32} << 20;  // what cuBLAS's manual advises for Hopper

using Library = Handle<cublasLtHandle_t, cublasLtDestroy>;
using Operation = Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return CUDA_R_32F;
    case DType::bf16: return CUDA_R_16BF;
    case DType::f16: return CUDA_R_16F;
    default: fail(ErrorKind::internal, "cuda: no products of", tessera::name(dtype));
  }
}

// The largest power of two, up to 16, that the address is a multiple of.
uint32_t alignment(const void* address) {
  uint32_t bytes = 16;
  while (reinterpret_cast<uintptr_t>(address) % bytes != 0) bytes /= 2;
  return bytes;
}

// Our (rows, columns) with a pitch: its (columns, rows), one column to the next a pitch apart.
Layout layout_of(const Tensor& x) {
  Layout layout;
  check(cublasLtMatrixLayoutCreate(
            layout.out(), data_type(x.dtype()), static_cast<uint64_t>(x.columns()),
            static_cast<uint64_t>(x.rows()), std::max<int64_t>(x.pitch(), x.columns())),
        "a matrix");
  return layout;
}

template <typename T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, T value) {
  check(cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof value),
        "a setting of a product");
}
template <typename T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  check(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
        "a preference");
}

Operation operation_of(const Gemm& product, bool rounds) {
  Operation operation;
  check(
      cublasLtMatmulDescCreate(
          operation.out(), rounds ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
      "a product");
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, product.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, product.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  return operation;
}

// Everything that an algorithm depends on.
using Key = std::tuple<int, bool, int64_t, int64_t, int64_t, bool, bool, DType, DType, int64_t,
                       int64_t, int64_t, uint32_t, uint32_t, uint32_t>;
Key key_of(int device, bool rounds, const Gemm& product) {
  return {device,
          rounds,
          product.m(),
          product.n(),
          product.k(),
          product.transpose_a,
          product.transpose_b,
          product.a.dtype(),
          product.c.dtype(),
          product.a.pitch(),
          product.b.pitch(),
          product.c.pitch(),
          alignment(product.a.data()),
          alignment(product.b.data()),
          alignment(product.c.data())};
}

struct Algorithm {
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace;
};

Algorithm best_algorithm(cublasLtHandle_t library, const Gemm& product, const Operation& operation,
                         const Layout& a, const Layout& b, const Layout& c) {
  Preference preference;
  check(cublasLtMatmulPreferenceCreate(preference.out()), "a preference");
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspace);
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(product.b.data()));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(product.a.data()));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(product.c.data()));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(product.c.data()));
  cublasLtMatmulHeuristicResult_t result{};
  int found = 0;
  check(cublasLtMatmulAlgoGetHeuristic(library, operation.get(), b.get(), a.get(), c.get(), c.get(),
                                       preference.get(), 1, &result, &found),
        "looking for an algorithm");
  check(found > 0, ErrorKind::peer, "cuBLASLt: no algorithm for a product of", product.a.shape(),
        product.b.shape());
  return {result.algo, result.workspaceSize};
}

// What a process keeps: never destroyed, since the driver may be gone by then.
struct Kept {
  std::mutex mutex;
  std::map<int, Library> libraries;  // of each device
  std::map<Key, Algorithm> algorithms;
  std::array<std::atomic<bool>, kMostDevices> tf32{};  // of each device
};
Kept& kept() {
  static Kept& all = *new Kept;
  return all;
}

}  // namespace

void set_tf32(int device, bool wanted) {
  kept().tf32.at(static_cast<size_t>(device)) = wanted;
}
bool tf32(int device) {
  return kept().tf32.at(static_cast<size_t>(device));
}

void gemm(Stream& stream, const Gemm& product) {
  if (product.k() == 0) {
    if (!product.accumulate) cuda::fill(stream, 0, product.c);
    return;
  }
  const bool rounds = product.a.dtype() == DType::f32 && tf32(stream.device().index);
  const Operation operation = operation_of(product, rounds);
  const Layout a = layout_of(product.a), b = layout_of(product.b), c = layout_of(product.c);
  cublasLtHandle_t library = nullptr;
  Algorithm best{};
  {
    const std::lock_guard lock(kept().mutex);
    const int device = stream.device().index;
    Library& mine = kept().libraries[device];
    if (mine.get() == nullptr) check(cublasLtCreate(mine.out()), "the library");
    library = mine.get();
    const Key key = key_of(device, rounds, product);
    auto known = kept().algorithms.find(key);
    if (known == kept().algorithms.end())
      known = kept()
                  .algorithms.emplace(key, best_algorithm(library, product, operation, a, b, c))
                  .first;
    best = known->second;
  }
  Tensor workspace;
  if (best.workspace > 0)
    workspace = Tensor(stream.device(), DType::f8_e4m3, {static_cast<int64_t>(best.workspace)},
                       MemoryClass::other);
  const float one = 1, beta = product.accumulate ? 1 : 0;
  check(cublasLtMatmul(library, operation.get(), &one, product.b.data(), b.get(), product.a.data(),
                       a.get(), &beta, product.c.data(), c.get(), product.c.data(), c.get(),
                       &best.algorithm, best.workspace > 0 ? workspace.data() : nullptr,
                       best.workspace, native(stream)),
        "a product");
}

}  // namespace cuda
}  // namespace tessera
