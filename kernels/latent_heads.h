// SPDX-License-Identifier: Apache-2.0
// Keys and values of multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, eq 9-19), put
// together from what the up-projection made of the latent and the one rotated key that all heads
// share:
//   up (rows, heads * (nope + v)), of each head (k_nope | v);  shared (rows, rope_dim)
//   keys (rows, heads * (nope + rope)), of each head (k_nope | shared);  values (rows, heads * v)
// All of one floating type T; all may be column slices.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

struct LatentHeads {
  int num_heads = 1;
  int nope_dim = 0;  // elements of a head's key that come from the latent
  int rope_dim = 0;  // and of the shared key
  int v_dim = 0;
};

// Writes keys and values.
void latent_heads(Stream& stream, const LatentHeads& shape, const Tensor& up, const Tensor& shared,
                  const Tensor& keys, const Tensor& values);

// Writes dup and dshared, the sum over heads of the shared key's gradients: in increasing order, in
// accumulation_type(T), rounded once.
void latent_heads_backward(Stream& stream, const LatentHeads& shape, const Tensor& dkeys,
                           const Tensor& dvalues, const Tensor& dup, const Tensor& dshared);

}  // namespace tessera
