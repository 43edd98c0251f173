// SPDX-License-Identifier: Apache-2.0
#include "kernels/norm.h"

#include "tests/support/golden.h"

namespace tessera::test {
namespace {

constexpr double kEpsilon = 1e-6;

struct Norm {
  Tensor x, weight, dy, y, inv_rms, dx, dweight;

  void run(Stream& stream) const {
    rms_norm(stream, x, weight, kEpsilon, y, inv_rms);
    rms_norm_backward_input(stream, x, weight, inv_rms, dy, dx);
    fill(stream, 0.5, dweight);
    rms_norm_backward_weight(stream, x, inv_rms, dy, dweight);
  }
};

Norm norm_of(Device device, DType dtype, DType values, int64_t rows, int64_t width, bool slice) {
  const auto fresh = [&] {
    return slice ? sliced(device, dtype, rows, width) : Tensor(device, dtype, {rows, width});
  };
  const DType sums = accumulation_type(dtype);
  return {.x = converted(normal(values, rows, width, 1, 2), device, dtype, slice),
          .weight = converted(normal(values, 1, width, 2), device, dtype),
          .dy = converted(normal(values, rows, width, 3), device, dtype, slice),
          .y = fresh(),
          .inv_rms = Tensor(device, sums, {rows}),
          .dx = fresh(),
          .dweight = Tensor(device, sums, {width})};
}

TEST(RmsNorm, AgreesWithTheReference) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const auto& [rows, width] :
         {std::pair<int64_t, int64_t>{1, 1}, {3, 17}, {150, 83}, {5, 768}, {2, 2056}, {300, 16}}) {
      const Norm truth = norm_of(kReference, DType::f64, dtype, rows, width, false);
      const Norm actual = norm_of(kCpu, dtype, dtype, rows, width, width < 2000);
      truth.run(reference_stream());
      actual.run(cpu_stream());
      expect_close(actual.y, truth.y, dtype, "y");
      expect_close(actual.inv_rms, truth.inv_rms, DType::f32, "inv_rms");
      // One element leaves only epsilon's share of a gradient: nothing but rounding.
      if (width > 1) expect_close(actual.dx, truth.dx, dtype, "dx");
      expect_close(actual.dweight, truth.dweight, DType::f32, "dweight");
    }
}

TEST(RmsNorm, GivesTheSameBitsForAnyThreadsAndPath) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Norm norm = norm_of(kCpu, dtype, dtype, 200, 330, false);
    expect_same_bits_everywhere([&] {
      norm.run(cpu_stream());
      return std::vector<Tensor>{norm.y, norm.inv_rms, norm.dx, norm.dweight};
    });
  }
}

TEST(RmsNorm, OfZerosIsZero) {
  const Norm norm = norm_of(kCpu, DType::f32, DType::f32, 2, 20, false);
  fill(cpu_stream(), 0, norm.x);
  norm.run(cpu_stream());
  EXPECT_EQ(values_of(norm.y), std::vector<double>(40, 0.0));
  for (const double value : values_of(norm.dx)) EXPECT_TRUE(std::isfinite(value));
}

TEST(RmsNorm, IsPyTorchs) {
  const auto& table = golden().at("rmsnorm");
  const Tensor x = golden_input(6, 4), y(kReference, DType::f64, {6, 4});
  const Tensor weight = golden_tensor(table.at("w"), 1, 4), inv_rms(kReference, DType::f64, {6});
  rms_norm(reference_stream(), x, weight, table.at("eps").get<double>(), y, inv_rms);
  expect_golden(y, golden_tensor(table.at("y"), 6, 4), 1e-12);
}

TEST(RmsNorm, GradientsOfTheReferenceAreDerivatives) {
  const Norm norm = norm_of(kReference, DType::f64, DType::f64, 3, 7, false);
  norm.run(reference_stream());
  const std::vector<double> dx = values_of(norm.dx), dweight = values_of(norm.dweight);
  const auto objective = [&] {
    rms_norm(reference_stream(), norm.x, norm.weight, kEpsilon, norm.y, norm.inv_rms);
    double sum = 0;
    for (int64_t i = 0; i < norm.y.size(); ++i)
      sum += norm.y.as<double>()[i] * norm.dy.as<double>()[i];
    return sum;
  };
  const auto slope = [&](double& element) {
    constexpr double kStep = 1e-6;
    const double before = element;
    element = before + kStep;
    const double above = objective();
    element = before - kStep;
    const double below = objective();
    element = before;
    return (above - below) / (2 * kStep);
  };
  for (size_t i = 0; i < dx.size(); ++i) EXPECT_NEAR(slope(norm.x.as<double>()[i]), dx[i], 1e-7);
  for (size_t i = 0; i < dweight.size(); ++i)
    EXPECT_NEAR(slope(norm.weight.as<double>()[i]) + 0.5, dweight[i], 1e-7);
}

}  // namespace
}  // namespace tessera::test
