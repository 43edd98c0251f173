// SPDX-License-Identifier: Apache-2.0
#include "kernels/latent_heads.h"

#include "kernels/arguments.h"
#include "kernels/backend.h"

namespace tessera {
namespace {

void check_heads(const Arguments& arguments, const LatentHeads& shape, const Argument& up,
                 const Argument& shared, const Argument& keys, const Argument& values) {
  arguments.on_device({up, shared, keys, values});
  arguments.computable(up);
  for (const Argument& other : {shared, keys, values}) arguments.same_type(up, other);
  arguments.holds(
      shape.num_heads > 0 && shape.nope_dim > 0 && shape.rope_dim > 0 && shape.v_dim > 0,
      "positive head sizes");
  const int64_t rows = up.tensor.rows(), heads = shape.num_heads;
  arguments.matrix(up, rows, heads * (shape.nope_dim + shape.v_dim));
  arguments.matrix(shared, rows, shape.rope_dim);
  arguments.matrix(keys, rows, heads * (shape.nope_dim + shape.rope_dim));
  arguments.matrix(values, rows, heads * shape.v_dim);
}

}  // namespace

void latent_heads(Stream& stream, const LatentHeads& shape, const Tensor& up, const Tensor& shared,
                  const Tensor& keys, const Tensor& values) {
  check_heads(Arguments(stream, "latent_heads:"), shape, {"up", up}, {"shared", shared},
              {"keys", keys}, {"values", values});
  stream.backend().latent_heads(stream, shape, up, shared, keys, values);
}

void latent_heads_backward(Stream& stream, const LatentHeads& shape, const Tensor& dkeys,
                           const Tensor& dvalues, const Tensor& dup, const Tensor& dshared) {
  check_heads(Arguments(stream, "latent_heads_backward:"), shape, {"dup", dup},
              {"dshared", dshared}, {"dkeys", dkeys}, {"dvalues", dvalues});
  stream.backend().latent_heads_backward(stream, shape, dkeys, dvalues, dup, dshared);
}

}  // namespace tessera
