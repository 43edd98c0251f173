// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/loss_scaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

PrecisionOptions f16_with(const std::string& style, double initial, int64_t interval,
                          int64_t hysteresis = 1) {
  PrecisionOptions precision;
  precision.compute = "f16";
  precision.loss_scaling.style = style;
  precision.loss_scaling.initial = initial;
  precision.loss_scaling.growth_interval = interval;
  precision.loss_scaling.hysteresis = hysteresis;
  return precision;
}

// The scale after each step; 'x' overflows.
std::vector<double> trace(LossScaler& scaler, const std::string& steps) {
  std::vector<double> scales;
  for (const char step : steps) {
    EXPECT_EQ(scaler.update(step != 'x', 1, "w grad"), step != 'x');
    scales.push_back(scaler.scale());
  }
  return scales;
}

TEST(LossScaler, FollowsMegatronsTrace) {
  LossScaler scaler(f16_with("megatron", 1024, 3, 2), {});
  EXPECT_THAT(trace(scaler, "xx...x"), ElementsAre(1024, 512, 512, 512, 1024, 1024));
}

TEST(LossScaler, OfMegatronFallsOnEveryOverflowOnceHysteresisIsUsedUp) {
  PrecisionOptions precision = f16_with("megatron", 1024, 3, 2);
  precision.loss_scaling.min = 200;
  LossScaler scaler(precision, {});
  // A good step in between does not refill hysteresis; the minimum holds.
  EXPECT_THAT(trace(scaler, "xx.xxx"), ElementsAre(1024, 512, 512, 256, 200, 200));
}

TEST(LossScaler, OfPyTorchHalvesAtOnceAndDoublesAfterGoodStepsInARow) {
  LossScaler scaler(f16_with("pytorch", 1024, 3), {});
  EXPECT_THAT(trace(scaler, "x..x...."), ElementsAre(512, 512, 512, 256, 256, 256, 512, 512));
  LossScaler small(f16_with("pytorch", 1, 3), {});
  EXPECT_THAT(trace(small, "xx"), ElementsAre(0.5, 0.25)) << "no minimum";
}

TEST(LossScaler, DoesNotGrowBeyondF32) {
  LossScaler scaler(f16_with("pytorch", 0x1p127, 1), {});
  EXPECT_THAT(trace(scaler, ".."), ElementsAre(0x1p127, 0x1p127));
}

TEST(LossScaler, IsOffForOtherTypesUnlessAskedFor) {
  PrecisionOptions precision;
  precision.compute = "bf16";
  LossScaler off(precision, {});
  EXPECT_FALSE(off.dynamic());
  EXPECT_THAT(trace(off, "x."), ElementsAre(1, 1));
  precision.loss_scaling.mode = "dynamic";
  EXPECT_TRUE(LossScaler(precision, {}).dynamic());
  precision = f16_with("pytorch", 1024, 3);
  precision.loss_scaling.mode = "none";
  EXPECT_EQ(LossScaler(precision, {}).scale(), 1);
}

TEST(LossScaler, GivesUpAfterTooManySkipsInARowAndNamesTheCulprit) {
  PrecisionOptions precision;
  precision.compute = "bf16";
  LossScaler scaler(precision, {.max_skips = 3});
  trace(scaler, "xxx.xxx");  // a good step in between: not in a row
  EXPECT_EQ(scaler.skipped_in_a_row(), 3);
  EXPECT_THAT(error_of([&] { scaler.update(false, 8, "layers.3.up_proj grad"); }),
              AllOf(StartsWith("numeric"), HasSubstr("step 8"), HasSubstr("4. in a row"),
                    HasSubstr("layers.3.up_proj grad")));

  LossScaler scaling(f16_with("pytorch", 65536, 3), {.max_skips = 3});
  trace(scaling, std::string(20, 'x'));  // a scale that is too high needs many
  EXPECT_THAT(error_of([&] { scaling.update(false, 21, "w"); }), StartsWith("numeric"));

  LossScaler strict(precision, {.non_finite = "stop"});
  EXPECT_THAT(error_of([&] { strict.update(false, 1, "w"); }), StartsWith("numeric"));
}

TEST(LossScaler, ContinuesFromItsState) {
  const PrecisionOptions precision = f16_with("megatron", 1000.1, 3, 2);
  LossScaler first(precision, {});
  trace(first, "xx..");
  LossScaler second(precision, {});
  second.restore(first.state());
  EXPECT_EQ(second.scale(), first.scale()) << "to the last bit";
  EXPECT_EQ(second.state(), first.state());
  EXPECT_EQ(trace(second, ".xx..."), trace(first, ".xx..."));
  EXPECT_THAT(error_of([&] { second.restore("nonsense"); }), StartsWith("checkpoint"));
  EXPECT_THAT(error_of([&] { second.restore("0x1p3 1"); }), StartsWith("checkpoint"));

  PrecisionOptions bf16_options;
  bf16_options.compute = "bf16";
  LossScaler off(bf16_options, {});
  off.restore(first.state());
  EXPECT_EQ(off.scale(), 1) << "resumed in a type that needs no scaling";
}

}  // namespace
}  // namespace tessera::test
