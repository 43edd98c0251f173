// SPDX-License-Identifier: Apache-2.0
// The whole covering array of layouts of two and four ranks, in tiny shapes.
#include "tests/support/covering_array.h"

namespace tessera::test {
namespace {

TEST(CoveringArray, OfADenseModelOnFourRanksHasNoLayoutThatDiffers) {
  expect_no_layout_differs(4, small_model(false, 0), 40);
}

TEST(CoveringArray, OfExpertsOnTwoRanksHasNoLayoutThatDiffers) {
  expect_no_layout_differs(2, small_model(true, 1), 20);
}

}  // namespace
}  // namespace tessera::test
