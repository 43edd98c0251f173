// SPDX-License-Identifier: Apache-2.0
#include "kernels/update.h"

#include <numeric>

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
    adamw_update(reference_stream(), kAdamW, controls(1, 1, table.at("lr"), step),
                 {{grad, p, m, v, p}});
    expect_golden(
        p, golden_tensor(table.at("p_after_steps").at(static_cast<size_t>(step - 1)), 1, 6), 1e-12);
  }
}

// Parts of all sizes, more than one launch takes, side by side in flat arrays with an element
// between them that belongs to none; few start at a multiple of 16 bytes.
struct Weights {
  Tensor grad, master, m, v, compute;  // flat
  std::vector<AdamWPart> parts;
};
Weights weights(Device device, DType dtype, DType compute) {
  std::vector<int64_t> sizes = {20004, 0, 1, 4096, 8193, 40003, 3};
  for (int64_t i = 0; i < 150; ++i) sizes.push_back(i % 11);
  const int64_t all = std::accumulate(sizes.begin(), sizes.end(), std::ssize(sizes));
  const Tensor squares = normal(DType::f32, 1, all + 2, 4, 0.1);
  for (int64_t i = 0; i < squares.size(); ++i)
    squares.as<double>()[i] = std::abs(squares.as<double>()[i]);
  // Also where one of the arrays is aligned and another is not.
  Weights at = {
      .grad = converted(normal(DType::f32, 1, all + 2, 1), device, dtype).column_slice(1, all),
      .master = converted(normal(DType::f32, 1, all, 2), device, dtype),
      .m = converted(normal(DType::f32, 1, all, 3, 0.1), device, dtype),
      .v = converted(squares.column_slice(0, all), device, dtype),
      .compute = converted(normal(DType::f32, 1, all + 2, 5), device, compute).column_slice(2, all),
      .parts = {}};
  int64_t first = 0;
  for (const int64_t size : sizes) {
    const auto part = [&](const Tensor& flat) { return flat.column_slice(first, size); };
    at.parts.push_back({part(at.grad), part(at.master), part(at.m), part(at.v), part(at.compute),
                        at.parts.size() % 3 != 1});
    first += size + 1;
  }
  return at;
}

TEST(AdamW, AgreesWithTheReferenceOnAnyThreadsAndPath) {
  const Weights truth = weights(kReference, DType::f64, DType::f64);
  adamw_update(reference_stream(), kAdamW, controls(1, 0.3, 0.01, 3), truth.parts);
  for (const DType compute : {DType::f32, DType::bf16, DType::f16})
    expect_same_bits_everywhere([&] {
      const Weights at = weights(kCpu, DType::f32, compute);
      adamw_update(cpu_stream(), kAdamW, controls(1, 0.3, 0.01, 3), at.parts);
      expect_close(at.master, truth.master, DType::f32, "master");
      expect_close(at.m, truth.m, DType::f32, "m");
      expect_close(at.v, truth.v, DType::f32, "v");
      expect_close(at.compute, truth.compute, compute, "compute");
      return std::vector<Tensor>{at.master, at.m, at.v, at.compute};
    });
}

TEST(AdamW, UpdatesEveryPartAsIfItWereAlone) {
  const Weights list = weights(kCpu, DType::f32, DType::bf16);
  const Weights alone = weights(kCpu, DType::f32, DType::bf16);
  const Tensor before = converted(list.master, kCpu, DType::f32);
  adamw_update(cpu_stream(), kAdamW, controls(1, 0.3, 0.01, 3), list.parts);
  for (const AdamWPart& part : alone.parts)
    adamw_update(cpu_stream(), kAdamW, controls(1, 0.3, 0.01, 3), {part});
  EXPECT_EQ(bits_of(list.master), bits_of(alone.master));
  EXPECT_EQ(bits_of(list.m), bits_of(alone.m));
  EXPECT_EQ(bits_of(list.v), bits_of(alone.v));
  EXPECT_EQ(bits_of(list.compute), bits_of(alone.compute));
  int64_t first = 0;
  for (const AdamWPart& part : list.parts) {
    for (int64_t i = first; i < first + part.master.size(); ++i)
      ASSERT_NE(list.master.as<float>()[i], before.as<float>()[i]) << i;
    first += part.master.size();
    ASSERT_EQ(list.master.as<float>()[first], before.as<float>()[first]) << "between two parts";
    ++first;
  }
}

TEST(AdamW, DecaysThePartsThatAskForIt) {
  const auto one = [](double value) {
    const Tensor x(kCpu, DType::f32, {1});
    fill(cpu_stream(), value, x);
    return x;
  };
  std::vector<AdamWPart> parts;
  for (const bool decay : {true, false, true})
    parts.push_back({one(0), one(2), one(0), one(0), one(7), decay});
  adamw_update(cpu_stream(), kAdamW, controls(1, 1, 0.5, 1), parts);
  EXPECT_FLOAT_EQ(parts[0].compute.as<float>()[0], 1.9f);  // 2 (1 - 0.5 x 0.1)
  EXPECT_EQ(parts[1].compute.as<float>()[0], 2);
  EXPECT_FLOAT_EQ(parts[2].master.as<float>()[0], 1.9f);
}

TEST(AdamW, WritesNothingWhenTheStepIsSkipped) {
  const Weights at = weights(kCpu, DType::f32, DType::f32);
  const auto before = bits_of(at.master), moments = bits_of(at.m), copies = bits_of(at.compute);
  adamw_update(cpu_stream(), kAdamW, controls(0, NAN, 0.01, 1), at.parts);
  EXPECT_EQ(bits_of(at.master), before);
  EXPECT_EQ(bits_of(at.m), moments);
  EXPECT_EQ(bits_of(at.compute), copies);
}

TEST(AdamW, OfNoPartsDoesNothing) {
  adamw_update(cpu_stream(), kAdamW, controls(1, 1, 0.5, 1), {});
}

}  // namespace
}  // namespace tessera::test
