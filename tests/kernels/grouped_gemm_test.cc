// SPDX-License-Identifier: Apache-2.0
#include "kernels/gemm.h"
#include "tests/support/errors.h"
#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

constexpr int64_t kGroups = 6, kRows = 141;

Tensor as_offsets(const std::vector<int64_t>& offsets) {
  const Tensor out(kCpu, DType::i64, {static_cast<int64_t>(offsets.size())});
  std::copy(offsets.begin(), offsets.end(), out.as<int64_t>());
  return out;
}
const Tensor kOffsets = as_offsets({0, 0, 7, 8, 8, 140, 141});  // two groups have no rows

// C_g = A_g op(B_g) in f64, and the same on the CPU.
void expect_rows(DType dtype, DType out, int64_t k, int64_t n, bool transpose_b,
                 bool slice = true) {
  const Tensor a = normal(dtype, kRows, k, 1);
  const Tensor b = normal(dtype, kGroups * (transpose_b ? n : k), transpose_b ? k : n, 2);
  const Tensor truth(kReference, DType::f64, {kRows, n});
  const Tensor actual = slice ? sliced(kCpu, out, kRows, n) : Tensor(kCpu, out, {kRows, n});
  grouped_gemm(reference_stream(),
               {.a = a, .b = b, .c = truth, .offsets = kOffsets, .transpose_b = transpose_b});
  grouped_gemm(cpu_stream(), {.a = converted(a, kCpu, dtype, slice),
                              .b = converted(b, kCpu, dtype),
                              .c = actual,
                              .offsets = kOffsets,
                              .transpose_b = transpose_b});
  expect_close(actual, truth, out);
}

TEST(GroupedGemm, OfRowsAgreesWithTheReference) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const bool transpose_b : {false, true})
      for (const auto& [k, n] : {std::pair<int64_t, int64_t>{1, 1}, {33, 50}, {65, 193}}) {
        expect_rows(dtype, dtype, k, n, transpose_b);
        expect_rows(dtype, DType::f32, k, n, transpose_b);
      }
  expect_rows(DType::f32, DType::f32, 2500, 20, true);
  for (const bool transpose_b : {false, true})
    expect_rows(DType::bf16, DType::bf16, 168, 200, transpose_b, false);
}

void expect_weights(DType dtype, int64_t m, int64_t n, bool accumulate) {
  const Tensor a = normal(dtype, kRows, m, 1), b = normal(dtype, kRows, n, 2);
  const Tensor truth = normal(DType::f32, kGroups * m, n, 3);
  const Tensor actual = converted(truth, kCpu, DType::f32);
  grouped_gemm(
      reference_stream(),
      {.a = a, .b = b, .c = truth, .offsets = kOffsets, .weights = true, .accumulate = accumulate});
  grouped_gemm(cpu_stream(), {.a = converted(a, kCpu, dtype),
                              .b = converted(b, kCpu, dtype, n != 72),
                              .c = actual,
                              .offsets = kOffsets,
                              .weights = true,
                              .accumulate = accumulate});
  expect_close(actual, truth, DType::f32);
}

// Groups of no rows leave what is there, or give zeros.
TEST(GroupedGemm, OfWeightsWritesOrAddsToEachGroupsMatrix) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const bool accumulate : {false, true})
      for (const auto& [m, n] :
           {std::pair<int64_t, int64_t>{1, 1}, {33, 50}, {100, 193}, {136, 72}, {60, 112}})
        expect_weights(dtype, m, n, accumulate);
}

TEST(GroupedGemm, GivesTheBitsOfGemmForAnyThreadsAndPath) {
  if (runs_on_gpu()) GTEST_SKIP() << "cuBLASLt and our grouped products add in other orders";
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor a = converted(normal(dtype, kRows, 72, 1), kCpu, dtype);
    const Tensor b = converted(normal(dtype, kGroups * 104, 72, 2), kCpu, dtype);
    const Tensor d = converted(normal(dtype, kRows, 104, 3), kCpu, dtype);
    const auto grouped = [&] {
      const Tensor c(kCpu, dtype, {kRows, 104}), sums(kCpu, DType::f32, {kGroups * 104, 72});
      fill(cpu_stream(), 0.5, sums);
      grouped_gemm(cpu_stream(),
                   {.a = a, .b = b, .c = c, .offsets = kOffsets, .transpose_b = true});
      grouped_gemm(
          cpu_stream(),
          {.a = d, .b = a, .c = sums, .offsets = kOffsets, .weights = true, .accumulate = true});
      return std::vector<Tensor>{c, sums};
    };
    expect_same_bits_everywhere(grouped);
    const std::vector<Tensor> all = grouped();
    const Tensor one(kCpu, dtype, {132, 104}), sum(kCpu, DType::f32, {104, 72});
    fill(cpu_stream(), 0.5, sum);
    gemm(cpu_stream(),
         {.a = a.row_slice(8, 132), .b = b.row_slice(416, 104), .c = one, .transpose_b = true});
    gemm(cpu_stream(), {.a = d.row_slice(8, 132),
                        .b = a.row_slice(8, 132),
                        .c = sum,
                        .transpose_a = true,
                        .accumulate = true});
    EXPECT_EQ(bits_of(one), bits_of(all[0].row_slice(8, 132)));
    EXPECT_EQ(bits_of(sum), bits_of(all[1].row_slice(416, 104)));
  }
}

TEST(GroupedGemm, OfManySmallGroups) {
  constexpr int64_t kMany = 300, kSize = 9;  // group g has g % 3 rows
  std::vector<int64_t> begin = {0};
  for (int64_t g = 0; g < kMany; ++g) begin.push_back(begin.back() + g % 3);
  const int64_t rows = begin.back();
  const Tensor offsets = as_offsets(begin);
  const Tensor a = normal(DType::bf16, rows, kSize, 1);
  const Tensor b = normal(DType::bf16, kMany * kSize, kSize, 2);
  const Tensor c(kReference, DType::f64, {rows, kSize});
  const Tensor sums = normal(DType::f32, kMany * kSize, kSize, 3);
  const Tensor a16 = converted(a, kCpu, DType::bf16), b16 = converted(b, kCpu, DType::bf16);
  const Tensor c32(kCpu, DType::f32, {rows, kSize}), sums32 = converted(sums, kCpu, DType::f32);
  grouped_gemm(reference_stream(), {.a = a, .b = b, .c = c, .offsets = offsets});
  grouped_gemm(cpu_stream(), {.a = a16, .b = b16, .c = c32, .offsets = offsets});
  expect_close(c32, c, DType::f32);
  for (const bool accumulate : {true, false}) {
    grouped_gemm(
        reference_stream(),
        {.a = a, .b = a, .c = sums, .offsets = offsets, .weights = true, .accumulate = accumulate});
    grouped_gemm(cpu_stream(), {.a = a16,
                                .b = a16,
                                .c = sums32,
                                .offsets = offsets,
                                .weights = true,
                                .accumulate = accumulate});
    expect_close(sums32, sums, DType::f32);
  }
}

// A GPU's tiles are of 128 rows: groups of none, one and several, that begin and end where tiles do
// and where they do not.
TEST(GroupedGemm, OfRowsInAnyNumberOfTiles) {
  for (const auto& begin : std::vector<std::vector<int64_t>>{{0, 0, 128, 128, 256, 385},
                                                             {0, 127, 129, 129, 400},
                                                             {0, 300, 300, 300, 301},
                                                             {0, 256}}) {
    const Tensor offsets = as_offsets(begin);
    const int64_t groups = offsets.size() - 1, rows = begin.back(), n = 17, k = 24;
    const Tensor a = normal(DType::bf16, rows, k, 1), b = normal(DType::bf16, groups * n, k, 2);
    const Tensor truth(kReference, DType::f64, {rows, n}), actual(kCpu, DType::f32, {rows, n});
    grouped_gemm(reference_stream(),
                 {.a = a, .b = b, .c = truth, .offsets = offsets, .transpose_b = true});
    grouped_gemm(cpu_stream(), {.a = converted(a, kCpu, DType::bf16),
                                .b = converted(b, kCpu, DType::bf16),
                                .c = actual,
                                .offsets = offsets,
                                .transpose_b = true});
    expect_close(actual, truth, DType::f32);
  }
}

TEST(GroupedGemm, OfNoRowsGivesZerosOrAddsNothing) {
  const Tensor none(kCpu, DType::f32, {0, 4}), b(kCpu, DType::f32, {8, 4});
  const Tensor sums(kCpu, DType::f32, {8, 4});
  fill(cpu_stream(), 7, sums);
  grouped_gemm(
      cpu_stream(),
      {.a = none, .b = b, .c = none, .offsets = as_offsets({0, 0, 0}), .transpose_b = true});
  GroupedGemm products{.a = none,
                       .b = none,
                       .c = sums,
                       .offsets = as_offsets({0, 0, 0}),
                       .weights = true,
                       .accumulate = true};
  grouped_gemm(cpu_stream(), products);
  EXPECT_EQ(values_of(sums), std::vector<double>(32, 7.0));
  products.accumulate = false;
  grouped_gemm(cpu_stream(), products);
  EXPECT_EQ(values_of(sums), std::vector<double>(32, 0.0));
}

TEST(GroupedGemm, RefusesWhatDoesNotFit) {
  const Tensor a(kCpu, DType::f32, {3, 4}), b(kCpu, DType::f32, {10, 4}),
      c(kCpu, DType::f32, {3, 5});
  const auto message = [&](const std::vector<int64_t>& offsets) {
    return error_of([&] {
      grouped_gemm(cpu_stream(),
                   {.a = a, .b = b, .c = c, .offsets = as_offsets(offsets), .transpose_b = true});
    });
  };
  EXPECT_EQ(message({0, 1, 3}), "no error");
  EXPECT_NE(message({0, 2, 1, 3}).find("ascending offsets"), std::string::npos);
  EXPECT_NE(message({0, 1, 2}).find("ascending offsets"), std::string::npos);
  EXPECT_NE(message({0}).find("at least one group"), std::string::npos);
  EXPECT_NE(message({0, 1, 2, 3}).find("equal matrices"), std::string::npos);
  EXPECT_NE(error_of([&] {
              grouped_gemm(cpu_stream(), {.a = a,
                                          .b = b,
                                          .c = c,
                                          .offsets = as_offsets({0, 1, 3}),
                                          .transpose_b = true,
                                          .accumulate = true});
            }).find("weights only"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera::test
