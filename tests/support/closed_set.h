// SPDX-License-Identifier: Apache-2.0
// For tests of closed sets of words (kernels/base/closed_set.h).
#pragma once

#include <gtest/gtest.h>

#include "kernels/base/closed_set.h"

namespace tessera::test {

// Every name reads back as the value that it names, and no other word does. last: the enumerator
// that the table has to end with.
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

}  // namespace tessera::test
