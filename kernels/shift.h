// SPDX-License-Identifier: Apache-2.0
// What stands some places further on in each sequence: tokens and targets of multi-token prediction
// (DeepSeek-V3, arXiv:2412.19437, 2.2).
#pragma once

#include <cstdint>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// out[s][i] = in[s][i + by], or `beyond` where the sequence or the row's document ends before. in,
// out: (sequences * sequence_length) i32. document_starts: the same, the first position of each
// row's document; an empty Tensor: documents do not matter.
void shift(Stream& stream, const Tensor& in, const Tensor& document_starts, int64_t sequence_length,
           int64_t by, int32_t beyond, const Tensor& out);

}  // namespace tessera
