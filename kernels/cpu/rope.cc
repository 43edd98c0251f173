// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {

void rope(Stream&, const Rope& rope, const Tensor& positions, const Tensor& table,
          const Tensor& x) {
  check(rope.rotary_dim / 2 <= kMaxRopePairs, "rope: rotary_dim is above", 2 * kMaxRopePairs);
  const int32_t* position = positions.as<int32_t>();
  for_rows(x.rows(), int64_t{rope.num_heads} * rope.rotary_dim, [&](int64_t row) {
    const RopeRow shape = {.num_heads = rope.num_heads,
                           .head_dim = rope.head_dim,
                           .offset = rope.offset,
                           .pairs = rope.rotary_dim / 2,
                           .interleaved = rope.pairing == RopePairing::interleaved,
                           .inverse = rope.inverse,
                           .table = table.row<float>(position[row])};
    loops().rope.rotate(element_of(x), shape, at(x, row));
  });
}

}  // namespace tessera::cpu
