// SPDX-License-Identifier: Apache-2.0
// The covering arrays that take minutes: those of four and eight ranks.
#include "tests/support/covering_array.h"

namespace tessera::test {
namespace {

TEST(CoveringArrayLong, OfExpertsOnFourRanksHasNoLayoutThatDiffers) {
  expect_no_layout_differs(4, small_model(true, 1), 40);
}

TEST(CoveringArrayLong, OfADenseModelOnFourRanksHasNoLayoutThatDiffers) {
  expect_no_layout_differs(4, small_model(false, 0), 40);
}

TEST(CoveringArrayLong, OfADenseModelOnEightRanksHasNoLayoutThatDiffers) {
  expect_no_layout_differs(8, small_model(false, 0), 40);
}

TEST(CoveringArrayLong, OfExpertsOnEightRanksHasNoLayoutThatDiffers) {
  for (const int prediction : {0, 1, 2}) {
    SCOPED_TRACE(prediction);
    expect_no_layout_differs(8, small_model(true, prediction), 40);
  }
}

}  // namespace
}  // namespace tessera::test
