// SPDX-License-Identifier: Apache-2.0
#include "kernels/cross_entropy.h"

#include <limits>

#include "tests/support/golden.h"

namespace tessera::test {
namespace {

struct Result {
  Tensor stats, lse, loss, dlogits;
};

// Forward and backward with the classes cut into two slices at `cut`.
Result run(Stream& stream, const Tensor& logits, const Tensor& targets, int64_t cut,
           DType gradient) {
  const Device device = stream.device();
  const DType dtype = logits.dtype();
  const int64_t rows = logits.rows(), classes = logits.columns();
  Result at = {Tensor(device, dtype, {2 * rows, 3}), Tensor(device, dtype, {rows}),
               Tensor(device, DType::f64, {rows}), Tensor(device, gradient, {rows, classes})};
  const Tensor left = logits.column_slice(0, cut), right = logits.column_slice(cut, classes - cut);
  softmax_stats(stream, left, targets, 0, at.stats.row_slice(0, rows));
  softmax_stats(stream, right, targets, cut, at.stats.row_slice(rows, rows));
  cross_entropy(stream, at.stats, targets, at.lse, at.loss);
  cross_entropy_backward(stream, left, targets, 0, at.lse, 0.25, {},
                         at.dlogits.column_slice(0, cut));
  cross_entropy_backward(stream, right, targets, cut, at.lse, 0.25, {},
                         at.dlogits.column_slice(cut, classes - cut));
  return at;
}

TEST(CrossEntropy, AgreesWithTheReference) {
  const Tensor logits = normal(DType::f32, 9, 131, 1, 4);
  const Tensor targets = indices({0, 130, -100, 64, 65, 7, -1, 99, 3});
  const Result truth = run(reference_stream(), logits, targets, 65, DType::f64);
  for (const DType gradient : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor narrow = converted(logits, kCpu, DType::f32, true);
    expect_same_bits_everywhere([&] {
      const Result actual = run(cpu_stream(), narrow, targets, 65, gradient);
      expect_close(actual.lse, truth.lse, DType::f32, "lse");
      expect_close(actual.loss, truth.loss, DType::f32, "loss");
      expect_close(actual.dlogits, truth.dlogits, gradient, "dlogits");
      EXPECT_EQ(actual.loss.as<double>()[2], 0);
      EXPECT_EQ(values_of(actual.dlogits.row_slice(2, 1)), std::vector<double>(131, 0.0));
      return std::vector<Tensor>{actual.stats, actual.lse, actual.loss, actual.dlogits};
    });
  }
}

TEST(CrossEntropy, OfManyClassesAgreesWithTheReference) {
  const Tensor logits = normal(DType::f32, 2, 5000, 1, 4), targets = indices({4999, 7});
  const Result truth = run(reference_stream(), logits, targets, 2048, DType::f64);
  const Tensor narrow = converted(logits, kCpu, DType::f32);
  const Result actual = run(cpu_stream(), narrow, targets, 2048, DType::bf16);
  expect_close(actual.lse, truth.lse, DType::f32, "lse");
  expect_close(actual.dlogits, truth.dlogits, DType::bf16, "dlogits");
}

TEST(CrossEntropy, TheGradientIsTimesTheLossScaleOnTheDevice) {
  const Tensor logits = converted(normal(DType::f32, 3, 40, 1), kCpu, DType::f32);
  const Tensor targets = indices({1, -1, 20}), scale(kCpu, DType::f64, {1});
  const Result at = run(cpu_stream(), logits, targets, 20, DType::f32);
  const Tensor once(kCpu, DType::f32, {3, 40}), scaled(kCpu, DType::f32, {3, 40});
  scale.as<double>()[0] = 2048;
  cross_entropy_backward(cpu_stream(), logits, targets, 0, at.lse, 0.25 * 2048, {}, once);
  cross_entropy_backward(cpu_stream(), logits, targets, 0, at.lse, 0.25, scale, scaled);
  EXPECT_EQ(bits_of(scaled), bits_of(once));
}

TEST(CrossEntropy, BackwardMayOverwriteTheLogits) {
  const Tensor logits = converted(normal(DType::f32, 3, 40, 1), kCpu, DType::f32);
  const Tensor targets = indices({1, 39, 20}), apart(kCpu, DType::f32, {3, 40});
  const Result at = run(cpu_stream(), logits, targets, 20, DType::f32);
  cross_entropy_backward(cpu_stream(), logits, targets, 0, at.lse, 1, {}, apart);
  cross_entropy_backward(cpu_stream(), logits, targets, 0, at.lse, 1, {}, logits);
  EXPECT_EQ(bits_of(logits), bits_of(apart));
}

TEST(CrossEntropy, BearsLargeAndMaskedLogits) {
  const Tensor logits(kCpu, DType::f32, {2, 20});
  fill(cpu_stream(), 3e4, logits);
  for (int i = 0; i < 19; ++i) logits.row<float>(1)[i] = -std::numeric_limits<float>::infinity();
  const Result at = run(cpu_stream(), logits, indices({3, 19}), 10, DType::f32);
  EXPECT_NEAR(at.loss.as<double>()[0], std::log(20.0), 1e-6);
  EXPECT_EQ(at.loss.as<double>()[1], 0);
  for (const double value : values_of(at.dlogits)) EXPECT_TRUE(std::isfinite(value));
}

TEST(CrossEntropy, IsPyTorchs) {
  const auto& table = golden().at("cross_entropy");
  const Tensor logits = golden_input(4, 5, table.at("logits_a").get<double>());
  const Result at = run(reference_stream(), logits, indices(table.at("targets")), 3, DType::f64);
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += at.loss.as<double>()[i];
  EXPECT_NEAR(sum, table.at("sum_loss").get<double>(), 1e-12);
  // The file's gradient is that of the mean over three targets; ours was asked for a quarter.
  const Tensor gradient = golden_tensor(table.at("grad"), 4, 5);
  for (int64_t i = 0; i < 20; ++i)
    EXPECT_NEAR(at.dlogits.as<double>()[i] * 4 / 3, gradient.as<double>()[i], 1e-12);
}

}  // namespace
}  // namespace tessera::test
