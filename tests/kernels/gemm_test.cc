// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"

#include <array>

#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

struct Case {
  int64_t m, n, k;
  bool transpose_a, transpose_b, accumulate;
};

// The truth in f64, and the same product on the CPU.
void expect_product(const Case& at, DType dtype, DType out) {
  const Tensor a = normal(dtype, at.transpose_a ? at.k : at.m, at.transpose_a ? at.m : at.k, 1);
  const Tensor b = normal(dtype, at.transpose_b ? at.n : at.k, at.transpose_b ? at.k : at.n, 2);
  const Tensor c = normal(out, at.m, at.n, 3);
  const Tensor actual = converted(c, kCpu, out, true);
  gemm(reference_stream(), {a, b, c, at.transpose_a, at.transpose_b, at.accumulate});
  gemm(cpu_stream(), {converted(a, kCpu, dtype, true), converted(b, kCpu, dtype, true), actual,
                      at.transpose_a, at.transpose_b, at.accumulate});
  expect_close(actual, c, out,
               testing::PrintToString(std::vector<int64_t>{at.m, at.n, at.k}).c_str());
}

TEST(Gemm, AgreesWithTheReferenceForEveryTransposeAndType) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true})
        for (const auto& [m, n, k] :
             {std::array<int64_t, 3>{1, 1, 1}, {7, 50, 33}, {97, 193, 65}}) {
          expect_product({m, n, k, transpose_a, transpose_b, false}, dtype, dtype);
          expect_product({m, n, k, transpose_a, transpose_b, false}, dtype, DType::f32);
          expect_product({m, n, k, transpose_a, transpose_b, true}, dtype, DType::f32);
        }
}

TEST(Gemm, AddsDepthsBeyondOneBlock) {
  expect_product({9, 20, 2500, true, false, true}, DType::bf16, DType::f32);
  expect_product({9, 20, 2500, false, true, false}, DType::f32, DType::f32);
}

TEST(Gemm, OfNoDepthGivesZeroOrLeavesTheSum) {
  const Tensor a(kCpu, DType::f32, {3, 0}), b(kCpu, DType::f32, {0, 4}),
      c(kCpu, DType::f32, {3, 4});
  fill(cpu_stream(), 7, c);
  gemm(cpu_stream(), {.a = a, .b = b, .c = c, .accumulate = true});
  EXPECT_EQ(values_of(c), std::vector<double>(12, 7.0));
  gemm(cpu_stream(), {.a = a, .b = b, .c = c});
  EXPECT_EQ(values_of(c), std::vector<double>(12, 0.0));
  gemm(cpu_stream(), {.a = Tensor(kCpu, DType::f32, {0, 5}),
                      .b = Tensor(kCpu, DType::f32, {5, 4}),
                      .c = Tensor(kCpu, DType::f32, {0, 4})});
}

TEST(Gemm, GivesTheSameBitsForAnyThreadsAndPath) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor a = converted(normal(dtype, 1100, 130, 1), kCpu, dtype);
    const Tensor b = converted(normal(dtype, 1100, 208, 2), kCpu, dtype);
    expect_same_bits_everywhere([&] {
      const Tensor c(kCpu, dtype, {130, 208}), sums(kCpu, DType::f32, {130, 208});
      const Tensor written(kCpu, DType::f32, {130, 208});
      gemm(cpu_stream(), {.a = a, .b = b, .c = c, .transpose_a = true});
      gemm(cpu_stream(), {.a = a, .b = b, .c = written, .transpose_a = true});
      fill(cpu_stream(), 0.5, sums);
      gemm(cpu_stream(), {.a = a, .b = b, .c = sums, .transpose_a = true, .accumulate = true});
      return std::vector<Tensor>{c, written, sums};
    });
  }
}

TEST(Gemm, OfOneRowDoesNotDependOnTheOtherRows) {
  if (runs_on_gpu()) GTEST_SKIP() << "cuBLASLt chooses its algorithm by the number of rows";
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor a = converted(normal(dtype, 300, 70, 1), kCpu, dtype);
    const Tensor b = converted(normal(dtype, 100, 70, 2), kCpu, dtype);
    const Tensor all(kCpu, dtype, {300, 100});
    gemm(cpu_stream(), {.a = a, .b = b, .c = all, .transpose_b = true});
    for (const int64_t rows : {1, 2, 17, 130}) {
      const Tensor some(kCpu, dtype, {rows, 100});
      gemm(cpu_stream(), {.a = a.row_slice(5, rows), .b = b, .c = some, .transpose_b = true});
      EXPECT_EQ(bits_of(some), bits_of(all.row_slice(5, rows))) << rows << " rows";
    }
  }
}

TEST(Gemm, RefusesShapesThatDoNotFit) {
  const Tensor a(kCpu, DType::f32, {3, 4}), b(kCpu, DType::f32, {5, 6}),
      c(kCpu, DType::f32, {3, 6});
  EXPECT_THROW(gemm(cpu_stream(), {.a = a, .b = b, .c = c}), Error);
  EXPECT_THROW(gemm(cpu_stream(), {.a = a, .b = Tensor(kCpu, DType::bf16, {4, 6}), .c = c}), Error);
}

}  // namespace
}  // namespace tessera::test
