// SPDX-License-Identifier: Apache-2.0
// Rows of tokens to the order of their experts and back. Each of R tokens has k slots, slot s of
// token r being number r k + s. Nothing is added in another order than that of the slots, so where
// an expert lies changes no bit.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// A stable sort by place: slots (R k) i32 = slot numbers by increasing place_of_expert[expert], and
// in increasing number within one place; position (R, k) i32 = where each slot went; offsets
// (E + 1) i64 = where each place begins among the slots, and their number (GroupedGemm). index:
// (R, k) i32 of experts; place_of_expert: (E) i32, a permutation.
void sort_slots(Stream& stream, const Tensor& index, const Tensor& place_of_expert,
                const Tensor& slots, const Tensor& position, const Tensor& offsets);

// out (n, C) T: row i is row rows[i] / divisor of x (any, C). rows: (n) i32. divisor k: the token
// of a slot.
void gather_rows(Stream& stream, const Tensor& x, const Tensor& rows, int64_t divisor,
                 const Tensor& out);

// out (R, C) T: row r is the sum over slots s of weights[r, s] * y[position[r, s]], added in the
// order of the slots in accumulation_type(T), rounded once. y: (any, C) T; weights (R, k) of
// accumulation_type(T), empty: ones.
void combine_rows(Stream& stream, const Tensor& y, const Tensor& position, const Tensor& weights,
                  const Tensor& out);

// The weights' half of an expert's output, at the expert: with g = W^T dy the gradient of w h,
//   dweights[r] = <g[r], h[r]>,  g[r] *= weights[r],  h[r] *= weights[r]
// g, h: (n, C) T; weights, dweights: (n) of accumulation_type(T). The sum has a fixed order.
void weigh_rows(Stream& stream, const Tensor& weights, const Tensor& g, const Tensor& h,
                const Tensor& dweights);

}  // namespace tessera
