// SPDX-License-Identifier: Apache-2.0
// Rows of a table by token id, and the scatter-add of their gradient, over a slice of the
// vocabulary: table row i belongs to token first_token + i.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// out (rows, width) T: out[r] = table[tokens[r] - first_token], or zeros where the token is outside
// the slice. tokens: (rows) i32. table: (vocabulary slice, width) T.
void embedding(Stream& stream, const Tensor& tokens, int64_t first_token, const Tensor& table,
               const Tensor& out);

// dtable (vocabulary slice, width) accumulation_type(T): dtable[tokens[r] - first_token] += dy[r],
// for each table row in increasing r (deterministic); tokens outside the slice are skipped.
void embedding_backward(Stream& stream, const Tensor& tokens, int64_t first_token, const Tensor& dy,
                        const Tensor& dtable);

}  // namespace tessera
