// SPDX-License-Identifier: Apache-2.0
#include "kernels/latent_heads.h"

#include <cstring>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {
namespace {

// `width` elements from one place to another of matrices of one type.
void copy_part(const Tensor& to, int64_t to_column, const Tensor& from, int64_t from_column,
               int64_t row, int64_t width) {
  std::memcpy(at(to, row, to_column), at(from, row, from_column),
              static_cast<size_t>(width * size_of(to.dtype())));
}

}  // namespace

void latent_heads(Stream&, const LatentHeads& shape, const Tensor& up, const Tensor& shared,
                  const Tensor& keys, const Tensor& values) {
  for_rows(up.rows(), keys.columns() + values.columns(), [&](int64_t row) {
    for (int64_t head = 0; head < shape.num_heads; ++head) {
      const int64_t from = head * (shape.nope_dim + shape.v_dim);
      const int64_t key = head * (shape.nope_dim + shape.rope_dim);
      copy_part(keys, key, up, from, row, shape.nope_dim);
      copy_part(keys, key + shape.nope_dim, shared, 0, row, shape.rope_dim);
      copy_part(values, head * shape.v_dim, up, from + shape.nope_dim, row, shape.v_dim);
    }
  });
}

void latent_heads_backward(Stream&, const LatentHeads& shape, const Tensor& dkeys,
                           const Tensor& dvalues, const Tensor& dup, const Tensor& dshared) {
  const Element element = element_of(dup);
  for_rows(dup.rows(), dkeys.columns() + dvalues.columns(), [&](int64_t row) {
    std::vector<float> sums(static_cast<size_t>(shape.rope_dim), 0);
    for (int64_t head = 0; head < shape.num_heads; ++head) {
      const int64_t up = head * (shape.nope_dim + shape.v_dim);
      const int64_t key = head * (shape.nope_dim + shape.rope_dim);
      copy_part(dup, up, dkeys, key, row, shape.nope_dim);
      copy_part(dup, up + shape.nope_dim, dvalues, head * shape.v_dim, row, shape.v_dim);
      loops().reduce.add_to(element, at(dkeys, row, key + shape.nope_dim), sums.data(),
                            shape.rope_dim);
    }
    loops().elementwise.cast(Element::f32, sums.data(), element, at(dshared, row), shape.rope_dim);
  });
}

}  // namespace tessera::cpu
