// SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/for_each.cuh"
#include "kernels/shift.h"

namespace tessera::cuda {
namespace {

struct Shift {
  const int32_t *in, *starts;  // starts may be null
  int32_t* out;
  int64_t length, by;
  int32_t beyond;

  __device__ void operator()(int64_t, int64_t row, int64_t) const {
    const bool inside =
        row % length + by < length && (starts == nullptr || starts[row + by] == starts[row]);
    out[row] = inside ? in[row + by] : beyond;
  }
};

}  // namespace

void shift(Stream& stream, const Tensor& in, const Tensor& document_starts, int64_t sequence_length,
           int64_t by, int32_t beyond, const Tensor& out) {
  for_each<1>(
      stream, 1, in.size(),
      Shift{in.as<int32_t>(), document_starts.empty() ? nullptr : document_starts.as<int32_t>(),
            out.as<int32_t>(), sequence_length, by, beyond});
}

}  // namespace tessera::cuda
