// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

namespace tessera::reference {

void rope(Stream&, const Rope& rope, const Tensor& positions, const Tensor& table,
          const Tensor& x) {
  const int64_t pairs = rope.rotary_dim / 2;
  const bool interleaved = rope.pairing == RopePairing::interleaved;
  for (int64_t r = 0; r < x.rows(); ++r) {
    const double* cosines = table.row<double>(positions.as<int32_t>()[r]);
    const double* sines = cosines + pairs;
    for (int64_t head = 0; head < rope.num_heads; ++head) {
      double* part = x.row<double>(r) + head * rope.head_dim + rope.offset;
      for (int64_t i = 0; i < pairs; ++i) {
        double& first = interleaved ? part[2 * i] : part[i];
        double& second = interleaved ? part[2 * i + 1] : part[pairs + i];
        const double sine = rope.inverse ? -sines[i] : sines[i];
        const double a = first, b = second;
        first = a * cosines[i] - b * sine;
        second = b * cosines[i] + a * sine;
      }
    }
  }
}

}  // namespace tessera::reference
