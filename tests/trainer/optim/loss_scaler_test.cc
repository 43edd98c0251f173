// SPDX-License-Identifier: Apache-2.0
#include "trainer/optim/loss_scaler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

PrecisionOptions f16_with(LossScalingStyle style, double initial, int64_t interval,
                          int64_t hysteresis = 1) {
  PrecisionOptions precision;
  precision.compute = ComputeType::f16;
  precision.loss_scaling.style = style;
  precision.loss_scaling.initial = initial;
  precision.loss_scaling.growth_interval = interval;
  precision.loss_scaling.hysteresis = hysteresis;
  return precision;
}

// Steps that were applied or, 'x', not; the scale is what the device says.
void hear(LossScaler& scaler, const std::string& steps) {
  for (const char step : steps) scaler.hear(step != 'x', scaler.now(), 1, "w grad");
}

TEST(LossScaler, HandsItsRulesToTheDevice) {
  PrecisionOptions precision = f16_with(LossScalingStyle::megatron, 1024, 3, 2);
  precision.loss_scaling.min = 200;
  const LossScaler scaler(precision, {});
  EXPECT_TRUE(scaler.rules().dynamic);
  EXPECT_TRUE(scaler.rules().megatron);
  EXPECT_EQ(scaler.rules().growth_interval, 3);
  EXPECT_EQ(scaler.rules().hysteresis, 2);
  EXPECT_EQ(scaler.rules().min, 200);
  EXPECT_EQ(scaler.now().scale, 1024);
  EXPECT_EQ(scaler.now().hysteresis, 2);
  EXPECT_FALSE(LossScaler(f16_with(LossScalingStyle::pytorch, 1024, 3), {}).rules().megatron);
}

TEST(LossScaler, IsOffForOtherTypesUnlessAskedFor) {
  PrecisionOptions precision;
  precision.compute = ComputeType::bf16;
  LossScaler off(precision, {});
  EXPECT_FALSE(off.dynamic());
  EXPECT_EQ(off.now().scale, 1);
  precision.loss_scaling.mode = LossScalingMode::dynamic;
  EXPECT_TRUE(LossScaler(precision, {}).dynamic());
  precision = f16_with(LossScalingStyle::pytorch, 1024, 3);
  precision.loss_scaling.mode = LossScalingMode::none;
  EXPECT_EQ(LossScaler(precision, {}).now().scale, 1);
}

TEST(LossScaler, GivesUpAfterTooManySkipsInARowAndNamesTheCulprit) {
  PrecisionOptions precision;
  precision.compute = ComputeType::bf16;
  LossScaler scaler(precision, {.max_skips = 3});
  hear(scaler, "xxx.xxx");  // a good step in between: not in a row
  EXPECT_EQ(scaler.skipped_in_a_row(), 3);
  EXPECT_THAT(error_of([&] { scaler.hear(false, {}, 8, "layers.3.up_proj grad"); }),
              AllOf(StartsWith("numeric"), HasSubstr("step 8"), HasSubstr("4. in a row"),
                    HasSubstr("layers.3.up_proj grad")));

  LossScaler scaling(f16_with(LossScalingStyle::pytorch, 65536, 3), {.max_skips = 3});
  hear(scaling, std::string(20, 'x'));  // a scale that is too high needs many
  EXPECT_THAT(error_of([&] { scaling.hear(false, {}, 21, "w"); }), StartsWith("numeric"));

  LossScaler strict(precision, {.non_finite = OnNonFinite::stop});
  EXPECT_THAT(error_of([&] { strict.hear(false, {}, 1, "w"); }), StartsWith("numeric"));
}

TEST(LossScaler, ContinuesFromItsState) {
  const PrecisionOptions precision = f16_with(LossScalingStyle::megatron, 1000.1, 3, 2);
  LossScaler first(precision, {});
  hear(first, "..x");
  first.hear(false, {.scale = 500.05f, .growth_tracker = 2, .hysteresis = -1}, 5, "w grad");
  LossScaler second(precision, {});
  second.restore(first.state());
  EXPECT_EQ(second.now().scale, 500.05f) << "to the last bit";
  EXPECT_EQ(second.now().growth_tracker, 2);
  EXPECT_EQ(second.now().hysteresis, -1);
  EXPECT_EQ(second.skipped_in_a_row(), 2);
  EXPECT_EQ(second.state(), first.state());
  EXPECT_THAT(error_of([&] { second.restore("nonsense"); }), StartsWith("checkpoint"));
  EXPECT_THAT(error_of([&] { second.restore("0x1p3 1"); }), StartsWith("checkpoint"));

  PrecisionOptions bf16_options;
  bf16_options.compute = ComputeType::bf16;
  LossScaler off(bf16_options, {});
  off.restore(first.state());
  EXPECT_EQ(off.now().scale, 1) << "resumed in a type that needs no scaling";
}

// A run without scaling keeps a number that is no scale to go on with.
TEST(LossScaler, StartsAtItsInitialScaleAfterARunWithoutScaling) {
  PrecisionOptions bf16_options;
  bf16_options.compute = ComputeType::bf16;
  const LossScaler unscaled(bf16_options, {});
  for (const std::string& state : {unscaled.state(), std::string("0x1p+0 0 1 0")}) {  // and earlier
    LossScaler scaler(f16_with(LossScalingStyle::pytorch, 65536, 3), {});
    scaler.restore(state);
    EXPECT_EQ(scaler.now().scale, 65536) << state;
    EXPECT_EQ(scaler.skipped_in_a_row(), 0);
  }
  LossScaler low(f16_with(LossScalingStyle::pytorch, 1, 3), {});
  hear(low, "..");
  low.hear(true, {.scale = 1, .growth_tracker = 0, .hysteresis = 1}, 3, "");
  LossScaler next(f16_with(LossScalingStyle::pytorch, 65536, 3), {});
  next.restore(low.state());
  EXPECT_EQ(next.now().scale, 1) << "a scale of 1 that was found is one";
  next.restore("0x1p+10 7 1 0");
  EXPECT_EQ(next.now().scale, 1024) << "of an earlier version";
}

}  // namespace
}  // namespace tessera::test
