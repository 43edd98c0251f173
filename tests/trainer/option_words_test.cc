// SPDX-License-Identifier: Apache-2.0
// The closed sets of a recipe's options: every name reads back as the value that it names.
#include "trainer/option_words.h"

#include <gtest/gtest.h>

#include "tests/support/closed_set.h"

namespace tessera::test {
namespace {

TEST(OptionWords, HaveOneNameForEachValueOfAClosedSet) {
  expect_whole(ComputeType::f16, "f16");
  expect_whole(WideType::f32, "f32");
  expect_whole(LossScalingMode::dynamic, "dynamic");
  expect_whole(LossScalingStyle::megatron, "megatron");
  expect_whole(LrKind::phases, "phases");
  expect_whole(LrShape::cosine, "cosine");
  expect_whole(Determinism::layout_free, "layout_free");
  expect_whole(OnPreempt::stop, "stop");
  expect_whole(OnNonFinite::stop, "stop");
}

TEST(OptionWords, NameTypesOfTensors) {
  EXPECT_EQ(dtype_of(ComputeType::f32), DType::f32);
  EXPECT_EQ(dtype_of(ComputeType::bf16), DType::bf16);
  EXPECT_EQ(dtype_of(ComputeType::f16), DType::f16);
}

}  // namespace
}  // namespace tessera::test
