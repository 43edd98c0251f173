// SPDX-License-Identifier: Apache-2.0
// The whole covering array of layouts of two ranks, in tiny shapes.
#include "tests/support/covering_array.h"

namespace tessera::test {
namespace {

TEST(CoveringArray, OfExpertsOnTwoRanksHasNoLayoutThatDiffers) {
  expect_no_layout_differs(2, small_model(true, 1), 20);
}

}  // namespace
}  // namespace tessera::test
