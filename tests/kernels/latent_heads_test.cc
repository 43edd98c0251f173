// SPDX-License-Identifier: Apache-2.0
#include "kernels/latent_heads.h"

#include <gtest/gtest.h>

#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

constexpr int64_t kRows = 7;

int64_t up_width(const LatentHeads& s) {
  return s.num_heads * (s.nope_dim + s.v_dim);
}
int64_t key_width(const LatentHeads& s) {
  return s.num_heads * (s.nope_dim + s.rope_dim);
}

TEST(LatentHeads, AgreeWithTheReference) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const LatentHeads& shape :
         {LatentHeads{.num_heads = 1, .nope_dim = 1, .rope_dim = 2, .v_dim = 3},
          LatentHeads{.num_heads = 3, .nope_dim = 17, .rope_dim = 18, .v_dim = 5},
          LatentHeads{.num_heads = 16, .nope_dim = 32, .rope_dim = 16, .v_dim = 32}}) {
      const Tensor up = normal(dtype, kRows, up_width(shape), 1);
      const Tensor shared = normal(dtype, kRows, shape.rope_dim, 2);
      const auto matrix = [&](Device device, DType type, int64_t columns) {
        return Tensor(device, type, {kRows, columns});
      };
      const Tensor keys = matrix(kReference, DType::f64, key_width(shape));
      const Tensor values = matrix(kReference, DType::f64, shape.num_heads * shape.v_dim);
      latent_heads(reference_stream(), shape, up, shared, keys, values);
      const Tensor k = matrix(kCpu, dtype, keys.columns()),
                   v = matrix(kCpu, dtype, values.columns());
      latent_heads(cpu_stream(), shape, converted(up, kCpu, dtype, shape.num_heads < 16),
                   converted(shared, kCpu, dtype), k, v);
      EXPECT_EQ(values_of(k), values_of(keys)) << "only copies";
      EXPECT_EQ(values_of(v), values_of(values));

      const Tensor dup = matrix(kReference, DType::f64, up.columns());
      const Tensor dshared = matrix(kReference, DType::f64, shape.rope_dim);
      latent_heads_backward(reference_stream(), shape, keys, values, dup, dshared);
      const Tensor du = matrix(kCpu, dtype, up.columns()), ds = matrix(kCpu, dtype, shape.rope_dim);
      latent_heads_backward(cpu_stream(), shape, k, v, du, ds);
      EXPECT_EQ(values_of(du), values_of(dup));
      expect_close(ds, dshared, dtype);
    }
}

TEST(LatentHeads, BackwardIsTheTransposeOfForward) {
  const LatentHeads shape{.num_heads = 3, .nope_dim = 5, .rope_dim = 4, .v_dim = 7};
  const Tensor up = normal(DType::f64, kRows, up_width(shape), 1);
  const Tensor shared = normal(DType::f64, kRows, 4, 2);
  const Tensor dkeys = normal(DType::f64, kRows, key_width(shape), 3);
  const Tensor dvalues = normal(DType::f64, kRows, 21, 4);
  const Tensor keys = normal(DType::f64, kRows, key_width(shape), 5);
  const Tensor values = normal(DType::f64, kRows, 21, 6);
  const Tensor dup = normal(DType::f64, kRows, up_width(shape), 7);
  const Tensor dshared = normal(DType::f64, kRows, 4, 8);
  latent_heads(reference_stream(), shape, up, shared, keys, values);
  latent_heads_backward(reference_stream(), shape, dkeys, dvalues, dup, dshared);
  const auto dot = [](const Tensor& a, const Tensor& b) {
    double sum = 0;
    for (int64_t i = 0; i < a.size(); ++i) sum += a.as<double>()[i] * b.as<double>()[i];
    return sum;
  };
  EXPECT_NEAR(dot(keys, dkeys) + dot(values, dvalues), dot(up, dup) + dot(shared, dshared), 1e-11);
}

TEST(LatentHeads, GiveTheSameBitsOnAnyPathAndNumberOfThreads) {
  const LatentHeads shape{.num_heads = 5, .nope_dim = 33, .rope_dim = 18, .v_dim = 21};
  const auto random = [](int64_t columns, uint64_t stream) {
    return converted(normal(DType::bf16, 300, columns, stream), kCpu, DType::bf16);
  };
  const Tensor dkeys = random(key_width(shape), 1), dvalues = random(105, 2);
  expect_same_bits_everywhere([&] {
    const Tensor dup = random(up_width(shape), 3), dshared = random(18, 4);
    latent_heads_backward(cpu_stream(), shape, dkeys, dvalues, dup, dshared);
    return std::vector<Tensor>{dup, dshared};
  });
}

}  // namespace
}  // namespace tessera::test
