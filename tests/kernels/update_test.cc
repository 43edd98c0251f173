// SPDX-License-Identifier: Apache-2.0
#include "kernels/update.h"

#include "tests/support/golden.h"

namespace tessera::test {
namespace {

const AdamW kAdamW = {.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1};

Tensor controls(double apply, double grad_scale, double lr, int step) {
  const Tensor at(kCpu, DType::f64, {kNumControls});
  double* control = at.as<double>();
  control[kApply] = apply;
  control[kGradScale] = grad_scale;
  control[kLearningRate] = lr;
  control[kCorrection1] = 1 - std::pow(kAdamW.beta1, step);
  control[kCorrection2] = 1 - std::pow(kAdamW.beta2, step);
  return at;
}

TEST(AdamW, FollowsPyTorchForFiveSteps) {
  const auto& table = golden().at("adamw");
  const Tensor p = golden_input(1, 6), grad(kReference, DType::f64, {1, 6});
  const Tensor m(kReference, DType::f64, {1, 6}), v(kReference, DType::f64, {1, 6});
  fill(reference_stream(), 0, m);
  fill(reference_stream(), 0, v);
  for (int step = 1; step <= 5; ++step) {
    for (int i = 0; i < 6; ++i) grad.as<double>()[i] = 2 * (p.as<double>()[i] - 0.5) * (i + 1);
    adamw_update(reference_stream(), kAdamW, controls(1, 1, table.at("lr"), step), grad, p, m, v,
                 p);
    expect_golden(
        p, golden_tensor(table.at("p_after_steps").at(static_cast<size_t>(step - 1)), 1, 6), 1e-12);
  }
}

struct Weights {
  Tensor grad, master, m, v, compute;
};
Weights weights(Device device, DType dtype, DType compute) {
  constexpr int64_t kSize = 40003;
  Weights at = {.grad = converted(normal(DType::f32, 1, kSize, 1), device, dtype),
                .master = converted(normal(DType::f32, 1, kSize, 2), device, dtype),
                .m = converted(normal(DType::f32, 1, kSize, 3, 0.1), device, dtype),
                .v = converted(normal(DType::f32, 1, kSize, 4, 0.1), device, dtype),
                .compute = Tensor(device, compute, {1, kSize})};
  for (int64_t i = 0; i < kSize; ++i) {
    if (dtype == DType::f64) at.v.as<double>()[i] = std::abs(at.v.as<double>()[i]);
    if (dtype == DType::f32) at.v.as<float>()[i] = std::abs(at.v.as<float>()[i]);
  }
  return at;
}

TEST(AdamW, AgreesWithTheReferenceOnAnyThreadsAndPath) {
  const Weights truth = weights(kReference, DType::f64, DType::f64);
  adamw_update(reference_stream(), kAdamW, controls(1, 0.3, 0.01, 3), truth.grad, truth.master,
               truth.m, truth.v, truth.compute);
  for (const DType compute : {DType::f32, DType::bf16, DType::f16})
    expect_same_bits_everywhere([&] {
      const Weights at = weights(kCpu, DType::f32, compute);
      adamw_update(cpu_stream(), kAdamW, controls(1, 0.3, 0.01, 3), at.grad, at.master, at.m, at.v,
                   at.compute);
      expect_close(at.master, truth.master, DType::f32, "master");
      expect_close(at.m, truth.m, DType::f32, "m");
      expect_close(at.v, truth.v, DType::f32, "v");
      expect_close(at.compute, truth.compute, compute, "compute");
      return std::vector<Tensor>{at.master, at.m, at.v, at.compute};
    });
}

TEST(AdamW, WritesNothingWhenTheStepIsSkipped) {
  const Weights at = weights(kCpu, DType::f32, DType::f32);
  const auto before = bits_of(at.master), moments = bits_of(at.m);
  adamw_update(cpu_stream(), kAdamW, controls(0, NAN, 0.01, 1), at.grad, at.master, at.m, at.v,
               at.compute);
  EXPECT_EQ(bits_of(at.master), before);
  EXPECT_EQ(bits_of(at.m), moments);
}

}  // namespace
}  // namespace tessera::test
