// SPDX-License-Identifier: Apache-2.0
#include "kernels/rope.h"

#include "tests/support/golden.h"

namespace tessera::test {
namespace {

const std::vector<int32_t> kPositions = {0, 1, 5, 30, 2, 2, 17};

Tensor table(Device device, DType dtype, int dim) {
  return rope_table(device, dtype, rope_inverse_frequencies(dim, 10000), 31);
}

TEST(Rope, AgreesWithTheReference) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const RopePairing pairing : {RopePairing::interleaved, RopePairing::half_split})
      for (const bool inverse : {false, true})
        for (const int dim : {2, 6, 32, 66}) {
          const Rope shape = {.num_heads = 3,
                              .head_dim = dim + 7,
                              .offset = 3,
                              .rotary_dim = dim,
                              .pairing = pairing,
                              .inverse = inverse};
          const Tensor truth = normal(dtype, 7, 3 * (dim + 7), 1);
          const Tensor actual = converted(truth, kCpu, dtype, true);
          const Tensor positions = indices(kPositions);
          rope(reference_stream(), shape, positions, table(kReference, DType::f64, dim), truth);
          rope(cpu_stream(), shape, positions, table(kCpu, DType::f32, dim), actual);
          expect_close(actual, truth, dtype);
        }
}

TEST(Rope, BackAndForthIsTheIdentityAndKeepsBitsOnAnyPath) {
  for (const RopePairing pairing : {RopePairing::interleaved, RopePairing::half_split}) {
    Rope shape = {.num_heads = 2, .head_dim = 40, .rotary_dim = 40, .pairing = pairing};
    const Tensor before = normal(DType::f32, 7, 80, 1);
    const Tensor positions = indices(kPositions), angles = table(kCpu, DType::f32, 40);
    expect_same_bits_everywhere([&] {
      const Tensor x = converted(before, kCpu, DType::f32);
      shape.inverse = false;
      rope(cpu_stream(), shape, positions, angles, x);
      const Tensor rotated = converted(x, kCpu, DType::f32);
      shape.inverse = true;
      rope(cpu_stream(), shape, positions, angles, x);
      expect_close(x, before, DType::f32);
      return std::vector<Tensor>{rotated, x};
    });
  }
}

TEST(Rope, InverseFrequenciesAreTheKnownOnes) {
  const std::vector<double> frequencies = rope_inverse_frequencies(8, 10000);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(frequencies[i], golden().at("rope_inv_freq_d8").at(i).get<double>(), 1e-15);
}

TEST(Rope, YarnFrequenciesAreThoseOfDeepSeekV3) {
  const auto& truth = golden().at("yarn_v3");
  const Yarn yarn{.factor = 40, .original_length = 4096, .beta_fast = 32, .beta_slow = 1};
  const std::vector<double> frequencies = yarn_inverse_frequencies(64, 10000, yarn);
  ASSERT_EQ(frequencies.size(), truth.at("inv_freq").size());
  for (size_t i = 0; i < frequencies.size(); ++i)
    EXPECT_NEAR(frequencies[i] / truth.at("inv_freq").at(i).get<double>(), 1, 1e-12) << i;
  const double m = yarn_attention_factor(40, 1), m2 = yarn_attention_factor(40, 0.707);
  EXPECT_NEAR(m, truth.at("mscale").get<double>(), 1e-14);
  EXPECT_NEAR(m * m / std::sqrt(192.0), truth.at("softmax_scale_v3").get<double>(), 1e-14);
  EXPECT_NEAR(m2 * m2 / std::sqrt(192.0), truth.at("softmax_scale_v2_mscale0.707").get<double>(),
              1e-14);
  EXPECT_EQ(yarn_attention_factor(1, 1), 1);
}

TEST(Rope, YarnWithAFactorOfOneChangesNothing) {
  EXPECT_EQ(yarn_inverse_frequencies(32, 10000, {.factor = 1}),
            rope_inverse_frequencies(32, 10000));
}

}  // namespace
}  // namespace tessera::test
