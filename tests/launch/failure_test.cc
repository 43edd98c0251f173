// SPDX-License-Identifier: Apache-2.0
// The exit code that each kind of exception ends the program with.
#include "launch/failure.h"

#include <new>
#include <system_error>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/check.h"
#include "launch/recipe/reader.h"

namespace tessera {
namespace {

using testing::HasSubstr;

template <typename Exception>
Failure failure_of(const Exception& exception) {
  try {
    throw exception;
  } catch (...) {
    return failure_in_hand();
  }
}

TEST(Failure, OfMemoryIsCapacityAndNoBug) {
  const Failure failure = failure_of(std::bad_alloc());
  EXPECT_EQ(failure.exit_code, 5);
  EXPECT_THAT(failure.words, HasSubstr("out of memory"));
  EXPECT_EQ(failure_of(std::bad_array_new_length()).exit_code, 5);
  const auto threads = std::make_error_code(std::errc::resource_unavailable_try_again);
  EXPECT_EQ(failure_of(std::system_error(threads)).exit_code, 5);
}

TEST(Failure, KeepsTheCodeOfAnErrorAndOfARecipe) {
  EXPECT_EQ(failure_of(Error(ErrorKind::data, "x")).exit_code, 3);
  const Failure recipe = failure_of(RecipeFailure("a.yaml:1:1: no", 2));
  EXPECT_EQ(recipe.exit_code, 2);
  EXPECT_EQ(recipe.words, "a.yaml:1:1: no");
  EXPECT_FALSE(recipe.is_error);
}

TEST(Failure, OfAnythingElseIsABug) {
  EXPECT_EQ(failure_of(std::runtime_error("x")).exit_code, 70);
  EXPECT_THAT(failure_of(std::runtime_error("x")).words, HasSubstr("internal error: x"));
  EXPECT_EQ(failure_of(7).exit_code, 70);
}

}  // namespace
}  // namespace tessera
