// SPDX-License-Identifier: Apache-2.0
#include "kernels/latent_heads.h"

namespace tessera::reference {

void latent_heads(Stream&, const LatentHeads& shape, const Tensor& up, const Tensor& shared,
                  const Tensor& keys, const Tensor& values) {
  for (int64_t r = 0; r < up.rows(); ++r)
    for (int64_t head = 0; head < shape.num_heads; ++head) {
      const double* from = up.row<double>(r) + head * (shape.nope_dim + shape.v_dim);
      double* key = keys.row<double>(r) + head * (shape.nope_dim + shape.rope_dim);
      double* value = values.row<double>(r) + head * shape.v_dim;
      for (int i = 0; i < shape.nope_dim; ++i) key[i] = from[i];
      for (int i = 0; i < shape.rope_dim; ++i) key[shape.nope_dim + i] = shared.row<double>(r)[i];
      for (int i = 0; i < shape.v_dim; ++i) value[i] = from[shape.nope_dim + i];
    }
}

void latent_heads_backward(Stream&, const LatentHeads& shape, const Tensor& dkeys,
                           const Tensor& dvalues, const Tensor& dup, const Tensor& dshared) {
  for (int64_t r = 0; r < dup.rows(); ++r) {
    double* shared = dshared.row<double>(r);
    for (int i = 0; i < shape.rope_dim; ++i) shared[i] = 0;
    for (int64_t head = 0; head < shape.num_heads; ++head) {
      double* up = dup.row<double>(r) + head * (shape.nope_dim + shape.v_dim);
      const double* key = dkeys.row<double>(r) + head * (shape.nope_dim + shape.rope_dim);
      const double* value = dvalues.row<double>(r) + head * shape.v_dim;
      for (int i = 0; i < shape.nope_dim; ++i) up[i] = key[i];
      for (int i = 0; i < shape.rope_dim; ++i) shared[i] += key[shape.nope_dim + i];
      for (int i = 0; i < shape.v_dim; ++i) up[shape.nope_dim + i] = value[i];
    }
  }
}

}  // namespace tessera::reference
