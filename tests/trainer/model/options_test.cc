// SPDX-License-Identifier: Apache-2.0
// The closed sets of the model's options: every name reads back as the value that it names.
#include "trainer/model/options.h"

#include <gtest/gtest.h>

#include "kernels/router.h"
#include "tests/support/closed_set.h"

namespace tessera::test {
namespace {

TEST(ModelOptions, HaveOneNameForEachValueOfAClosedSet) {
  expect_whole(Architecture::deepseek_v3, "deepseek_v3");
  expect_whole(RopeType::yarn, "yarn");
  expect_whole(Scoring::sigmoid, "sigmoid");
  expect_whole(Selection::noaux_tc, "noaux_tc");
  expect_whole(Balance::aux_free, "aux_free");
  expect_whole(Recomputation::full, "full");
}

}  // namespace
}  // namespace tessera::test
