// SPDX-License-Identifier: Apache-2.0
#include "kernels/shift.h"

namespace tessera::cpu {

void shift(Stream&, const Tensor& in, const Tensor& document_starts, int64_t sequence_length,
           int64_t by, int32_t beyond, const Tensor& out) {
  const int32_t* from = in.as<int32_t>();
  const int32_t* starts = document_starts.empty() ? nullptr : document_starts.as<int32_t>();
  int32_t* to = out.as<int32_t>();
  for (int64_t row = 0; row < in.size(); ++row) {
    const bool inside = row % sequence_length + by < sequence_length &&
                        (starts == nullptr || starts[row + by] == starts[row]);
    to[row] = inside ? from[row + by] : beyond;
  }
}

}  // namespace tessera::cpu
