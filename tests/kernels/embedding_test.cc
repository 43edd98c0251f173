// SPDX-License-Identifier: Apache-2.0
#include "kernels/embedding.h"

#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

constexpr int64_t kRows = 300, kVocabulary = 40, kWidth = 37, kFirst = 5;

Tensor tokens() {
  std::vector<int32_t> values;
  const Philox philox{3, 0};
  for (uint64_t i = 0; i < kRows; ++i)  // some lie outside the slice, below and above
    values.push_back(static_cast<int32_t>(philox.bits(i) % (kVocabulary + 10)));
  return indices(values);
}

TEST(Embedding, GathersTheRowsOfItsSlice) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor table = normal(dtype, kVocabulary, kWidth, 1);
    const Tensor truth(kReference, DType::f64, {kRows, kWidth});
    const Tensor actual = sliced(kCpu, dtype, kRows, kWidth);
    embedding(reference_stream(), tokens(), kFirst, table, truth);
    embedding(cpu_stream(), tokens(), kFirst, converted(table, kCpu, dtype, true), actual);
    EXPECT_EQ(values_of(actual), values_of(truth));
  }
}

TEST(Embedding, OfDenseRowsAgreesWithTheReference) {
  constexpr int64_t kWide = 48;
  const Tensor table = normal(DType::bf16, kVocabulary, kWide, 1);
  const Tensor dy = normal(DType::bf16, kRows, kWide, 2);
  const Tensor truth(kReference, DType::f64, {kRows, kWide});
  const Tensor actual(kCpu, DType::bf16, {kRows, kWide});
  const Tensor sums = normal(DType::f32, kVocabulary, kWide, 3);
  const Tensor narrow = converted(sums, kCpu, DType::f32);
  embedding(reference_stream(), tokens(), kFirst, table, truth);
  embedding(cpu_stream(), tokens(), kFirst, converted(table, kCpu, DType::bf16), actual);
  EXPECT_EQ(values_of(actual), values_of(truth));
  embedding_backward(reference_stream(), tokens(), kFirst, dy, sums);
  embedding_backward(cpu_stream(), tokens(), kFirst, converted(dy, kCpu, DType::bf16), narrow);
  expect_close(narrow, sums, DType::f32);
}

TEST(Embedding, BackwardAddsRowsInOrder) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor dy = normal(dtype, kRows, kWidth, 2),
                 start = normal(DType::f32, kVocabulary, kWidth, 3);
    const Tensor truth = converted(start, kReference, DType::f64);
    embedding_backward(reference_stream(), tokens(), kFirst, dy, truth);
    const Tensor narrow = converted(dy, kCpu, dtype, true);
    expect_same_bits_everywhere([&] {
      const Tensor actual = converted(start, kCpu, DType::f32, true);
      embedding_backward(cpu_stream(), tokens(), kFirst, narrow, actual);
      expect_close(actual, truth, DType::f32);
      return std::vector<Tensor>{actual};
    });
  }
}

}  // namespace
}  // namespace tessera::test
