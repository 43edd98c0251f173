// SPDX-License-Identifier: Apache-2.0
#include "kernels/shift.h"

#include <gtest/gtest.h>

#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

TEST(Shift, StopsAtTheEndsOfSequencesAndDocuments) {
  const Tensor in = indices({0, 1, 2, 3, 4, 10, 11, 12, 13, 14});
  const Tensor starts = indices({0, 0, 0, 3, 3, 0, 1, 1, 1, 1});
  const Tensor out = indices(std::vector<int32_t>(10, 99));
  for (Stream* stream : {&reference_stream(), &cpu_stream()}) {
    const auto shifted = [&](const Tensor& document_starts, int64_t by) {
      shift(*stream, in, document_starts, 5, by, -1, out);
      return std::vector<int32_t>(out.as<int32_t>(), out.as<int32_t>() + 10);
    };
    EXPECT_EQ(shifted({}, 1), (std::vector<int32_t>{1, 2, 3, 4, -1, 11, 12, 13, 14, -1}));
    EXPECT_EQ(shifted({}, 2), (std::vector<int32_t>{2, 3, 4, -1, -1, 12, 13, 14, -1, -1}));
    EXPECT_EQ(shifted(starts, 1), (std::vector<int32_t>{1, 2, -1, 4, -1, -1, 12, 13, 14, -1}));
    EXPECT_EQ(shifted(starts, 0), (std::vector<int32_t>{0, 1, 2, 3, 4, 10, 11, 12, 13, 14}));
    EXPECT_EQ(shifted({}, 7), std::vector<int32_t>(10, -1));
  }
}

}  // namespace
}  // namespace tessera::test
