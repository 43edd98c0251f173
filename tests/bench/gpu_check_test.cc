// SPDX-License-Identifier: Apache-2.0
// The checks of bench_gpu_kernels run where there is no GPU, at small sizes, and find what they are
// there to find; and its table of predictions is one.
#include "tests/bench/gpu_check.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/copy.h"
#include "kernels/transfer.h"
#include "tests/bench/gpu_predictions.h"
#include "tests/support/errors.h"
#include "tests/support/temporary.h"

namespace tessera::bench {
namespace {

using test::error_of;
using testing::HasSubstr;

constexpr Device kGpu{Device::Kind::cuda};
// Before the plugin is opened, which happens once.
const bool kUsesStandIn = setenv("TESSERA_CUDA_PLUGIN", TESSERA_CUDA_STAND_IN, 1) == 0;

TEST(GpuChecks, AreRightOnTheStandIn) {
  Stream stream(kGpu);
  const std::vector<GpuCheck> all = gpu_checks(true);
  EXPECT_GE(all.size(), 15u);
  for (const GpuCheck& each : all) EXPECT_EQ(verdict_of(stream, each).wrong, "") << each.name;
}

GpuCheck::Results numbers(std::vector<float> values) {
  return [=](Stream& stream) { return std::vector<Tensor>{uploaded(stream, values)}; };
}

TEST(GpuChecks, FindWhatIsWrong) {
  Stream stream(kGpu);
  const auto wrong = [&](const GpuCheck& check) { return verdict_of(stream, check).wrong; };
  const auto good = numbers({1, 2, 2}), near = numbers({1, 2, 2.001f}), far = numbers({1, 2, 2.1f});
  EXPECT_EQ(wrong({"", good, near}), "");
  EXPECT_EQ(wrong({"", good, near, true}), "result 0 has other bits");
  EXPECT_EQ(wrong({"", good, far}), "too far apart");
  EXPECT_EQ(wrong({"", good, numbers({1, 2})}), "result 0 has another size");
  const float nan = std::nanf("");
  EXPECT_EQ(wrong({"", numbers({1, nan}), numbers({1, nan})}), "too far apart");
  EXPECT_EQ(wrong({"", numbers({1, 0}), numbers({0, 0})}), "too far apart");
  float count = 0;
  const GpuCheck restless{
      "",
      [&](Stream& s) {
        return std::vector<Tensor>{uploaded(s, std::vector<float>{1000, ++count})};
      },
      numbers({1000, 1})};
  EXPECT_EQ(wrong(restless), "result 0 has other bits the second time");
}

TEST(GpuPredictions, StandBesideWhatWasMeasured) {
  const Predictions all = read_predictions(TESSERA_SOURCE_DIR "/tests/bench/gpu_predictions.tsv");
  const Prediction* forward =
      prediction_of(all, "attention forward, 16 heads of 128 (1.3B), T=4096");
  ASSERT_NE(forward, nullptr);
  EXPECT_EQ(forward->unit, "TFLOP/s");
  EXPECT_EQ(prediction_of(all, "fill"), nullptr);
  EXPECT_EQ(prediction_of(all, "rms_norm backward, input")->value, 65) << "the longest name";
  EXPECT_EQ(beside({"TFLOP/s", 200}, 180), "predicted 200 TFLOP/s, 0.90 of it");
  EXPECT_EQ(beside({"ms", 2}, 3), "predicted 2 ms, 1.50 of it, look here first");
}

TEST(GpuPredictions, NameTheLineThatIsNone) {
  const TemporaryDirectory directory;
  const std::string path = directory / "table";
  for (const char* line : {"copy", "copy\tGB/s", "copy\tGB/s\tfast", "copy\tGB/s\t-3"}) {
    std::ofstream(path) << "# a comment\n" << line << "\n";
    EXPECT_THAT(error_of([&] { read_predictions(path); }), HasSubstr(path + ":2:")) << line;
  }
  EXPECT_THAT(error_of([&] { read_predictions(path + "2"); }), HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace tessera::bench
