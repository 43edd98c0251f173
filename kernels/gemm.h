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

// One product for each of G groups of rows (the experts of a mixture, each with its tokens), no row
// more than there are; groups may be empty:
//   rows        C_g  = A_g op(B_g)    A: (R, K), B: G matrices one below the other, C: (R, N)
//   weights     C_g  = A_g^T B_g      A: (R, M), B: (R, N), C: (G M, N) of accumulation_type(T)
// With accumulate, weights only, C_g += A_g^T B_g; without it a group of no rows gives zeros.
// X_g: rows [offsets[g], offsets[g + 1]) of what has R rows, the g-th matrix of what has G. Types
// and bits as of gemm(): what a group gives does not depend on the other groups. Offsets lie where
// the stream computes: the host need not know them, and checks them where it can read them. A GPU
// computes f32 product by product, and there the host does wait for them.
struct GroupedGemm {
  Tensor a;
  Tensor b;
  Tensor c;        // written
  Tensor offsets;  // (G + 1) i64, ascending, from 0 to R
  bool weights = false;
  bool transpose_b = false;  // rows: op(B_g) = B_g^T
  bool accumulate = false;

  int64_t groups() const { return offsets.size() - 1; }
  // Of views. REQUIRES offsets in the host's memory.
  Gemm product(int64_t group) const;
};

void grouped_gemm(Stream& stream, const GroupedGemm& products);

// True where TESSERA_EXPERTS=one_by_one asks a GPU for gemm() of each group in every type, in place
// of one launch for all groups of bf16 and f16 (grouped, the default): it tells a wrong kernel from
// a wrong model. The host then waits for the offsets, so such work cannot be recorded. Read anew by
// each call; other devices do not ask. Throws Error{usage} for any other word.
bool experts_one_by_one();

}  // namespace tessera
