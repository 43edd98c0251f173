// SPDX-License-Identifier: Apache-2.0
#include "kernels/elementwise.h"

#include "tests/support/golden.h"

namespace tessera::test {
namespace {

TEST(Elementwise, AgreesWithTheReference) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor a = normal(dtype, 21, 53, 1, 3), b = normal(dtype, 21, 53, 2),
                 c = normal(dtype, 21, 53, 3);
    const auto run = [&](Stream& stream, Device device, DType type, bool slice) {
      std::vector<Tensor> out;
      const auto fresh = [&] {
        out.push_back(slice ? sliced(device, type, 21, 53) : Tensor(device, type, {21, 53}));
        return out.back();
      };
      const Tensor x = converted(a, device, type, slice), y = converted(b, device, type, slice);
      const Tensor dy = converted(c, device, type);
      add(stream, x, y, fresh());
      scale(stream, x, -0.75, fresh());
      swiglu(stream, x, y, fresh());
      const Tensor dgate = fresh(), dup = fresh();
      swiglu_backward(stream, x, y, dy, dgate, dup);
      return out;
    };
    const auto truth = run(reference_stream(), kReference, DType::f64, false);
    for (const bool slice : {false, true}) {
      const auto actual = run(cpu_stream(), kCpu, dtype, slice);
      for (size_t i = 0; i < truth.size(); ++i)
        expect_close(actual[i], truth[i], dtype, std::to_string(i).c_str());
    }
  }
}

TEST(Elementwise, GivesTheSameBitsForAnyThreadsAndPath) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor x = converted(normal(dtype, 3, 30011, 1, 3), kCpu, dtype);
    const Tensor y = converted(normal(dtype, 3, 30011, 2), kCpu, dtype);
    expect_same_bits_everywhere([&] {
      const Tensor a(kCpu, dtype, {3, 30011}), b(kCpu, dtype, {3, 30011}),
          c(kCpu, dtype, {3, 30011});
      swiglu(cpu_stream(), x, y, a);
      swiglu_backward(cpu_stream(), x, y, y, b, c);
      return std::vector<Tensor>{a, b, c};
    });
  }
}

TEST(Swiglu, StaysFiniteAtTheEndsOfTheRange) {
  const Tensor gate(kCpu, DType::f32, {6}), up(kCpu, DType::f32, {6}), y(kCpu, DType::f32, {6});
  const std::vector<float> ends = {-3e38f, -200, -88.5f, 88.5f, 200, 1e30f};
  std::copy(ends.begin(), ends.end(), gate.as<float>());
  fill(cpu_stream(), 1, up);
  const Tensor dgate(kCpu, DType::f32, {6}), dup(kCpu, DType::f32, {6});
  swiglu(cpu_stream(), gate, up, y);
  swiglu_backward(cpu_stream(), gate, up, up, dgate, dup);
  for (int i = 0; i < 6; ++i) {
    EXPECT_TRUE(std::isfinite(y.as<float>()[i])) << ends[static_cast<size_t>(i)];
    EXPECT_TRUE(std::isfinite(dgate.as<float>()[i])) << ends[static_cast<size_t>(i)];
  }
  EXPECT_EQ(y.as<float>()[5], 1e30f);
  EXPECT_NEAR(y.as<float>()[1], 0, 1e-30);
}

TEST(Swiglu, OfOneIsPyTorchsSilu) {
  const Tensor gate = golden_input(1, 8), up(kReference, DType::f64, {1, 8}),
               y(kReference, DType::f64, {1, 8});
  fill(reference_stream(), 1, up);
  // The file's values belong to three times the input.
  const Tensor truth = golden_tensor(golden().at("silu"), 1, 8);
  scale(reference_stream(), gate, 3, gate);
  swiglu(reference_stream(), gate, up, y);
  expect_golden(y, truth, 1e-12);
}

TEST(Swiglu, GradientsOfTheReferenceAreDerivatives) {
  const Tensor gate = normal(DType::f64, 1, 20, 1), up = normal(DType::f64, 1, 20, 2);
  const Tensor dy = normal(DType::f64, 1, 20, 3), dgate = normal(DType::f64, 1, 20, 4);
  const Tensor dup = normal(DType::f64, 1, 20, 5), above = normal(DType::f64, 1, 20, 6);
  const Tensor below = normal(DType::f64, 1, 20, 7);
  swiglu_backward(reference_stream(), gate, up, dy, dgate, dup);
  constexpr double kStep = 1e-6;
  for (const auto& [x, gradient] : {std::pair{gate, dgate}, {up, dup}})
    for (int i = 0; i < 20; ++i) {
      double& element = x.as<double>()[i];
      const double before = element;
      element = before + kStep;
      swiglu(reference_stream(), gate, up, above);
      element = before - kStep;
      swiglu(reference_stream(), gate, up, below);
      element = before;
      const double slope = (above.as<double>()[i] - below.as<double>()[i]) / (2 * kStep);
      EXPECT_NEAR(slope * dy.as<double>()[i], gradient.as<double>()[i], 1e-8);
    }
}

}  // namespace
}  // namespace tessera::test
