// SPDX-License-Identifier: Apache-2.0
// The closed sets of the model's options: every name reads back as the value that it names.
#include "trainer/model/options.h"

#include <gtest/gtest.h>

#include "kernels/router.h"

namespace tessera::test {
namespace {

// last: the enumerator that the table has to end with.
template <typename E>
void expect_whole(E last, const std::string& name) {
  const std::vector<std::string> names = names_of<E>();
  ASSERT_EQ(names.size(), static_cast<size_t>(last) + 1);
  EXPECT_EQ(names.back(), name);
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(name_of(static_cast<E>(i)), names[i]);
    EXPECT_TRUE(value_named<E>(names[i]) == static_cast<E>(i)) << names[i];
  }
  EXPECT_FALSE(value_named<E>("").has_value());
  EXPECT_FALSE(value_named<E>(name + "x").has_value());
}

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
