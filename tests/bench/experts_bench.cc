// SPDX-License-Identifier: Apache-2.0
// What a mixture of experts costs on one rank: grouped products beside oneDNN's, and the router and
// the moving of rows beside the experts' products of a forward pass. Medians of rounds. oneDNN's
// threads would still spin while ours work, hence the variable:
//
//   GOMP_SPINCOUNT=2000 bench_experts [f32|bf16 [THREADS]]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <omp.h>

#include "kernels/cpu_path.h"
#include "kernels/elementwise.h"
#include "kernels/gemm.h"
#include "kernels/permute.h"
#include "kernels/router.h"
#include "tests/bench/onednn_product.h"
#include "tests/bench/timing.h"

namespace tessera {
namespace {

constexpr int64_t kExperts = 16;

// Of one expert's matrix; rows are those that each expert gets.
struct Shape {
  int64_t hidden, width;
  std::vector<int64_t> rows;
};
constexpr int kRounds = 9, kRuns = 5;

struct Pair {
  double ours = 0, as_one = 0;  // seconds
  Pair operator+(const Pair& other) const { return {ours + other.ours, as_one + other.as_one}; }
  double ratio() const { return as_one / ours; }
};

// GFLOP/s of ours, and of oneDNN in one product of all rows and in one product for each expert.
Pair compare(Stream& stream, const char* what, int64_t rows, const GroupedGemm& products,
             const Gemm& one) {
  const double flops = 2e-9 * static_cast<double>(one.m() * one.n() * one.k());
  OneDnnProduct whole(one);
  std::vector<OneDnnProduct> each;
  for (int64_t expert = 0; expert < kExperts; ++expert) each.emplace_back(products.product(expert));
  const auto all_of_each = [&] {
    for (OneDnnProduct& product : each) product.run();
  };
  std::vector<double> mine, as_one, one_by_one, to_one, to_each;
  grouped_gemm(stream, products), whole.run(), all_of_each();
  for (int round = 0; round < kRounds; ++round) {
    mine.push_back(seconds_of(kRuns, [&] { grouped_gemm(stream, products); }));
    as_one.push_back(seconds_of(kRuns, [&] { whole.run(); }));
    one_by_one.push_back(seconds_of(kRuns, all_of_each));
    to_one.push_back(as_one.back() / mine.back());
    to_each.push_back(one_by_one.back() / mine.back());
  }
  std::printf("%-10s %4lld rows each %9.1f %9.1f   %.2f %9.1f   %.2f\n", what,
              static_cast<long long>(rows), flops / median(mine), flops / median(as_one),
              median(to_one), flops / median(one_by_one), median(to_each));
  return {median(mine), median(as_one)};
}

void measure_products(Stream& stream, DType dtype, const Shape& shape) {
  const auto [hidden, width, all_rows] = shape;
  std::printf("%lld experts of %4lld x %4lld    grouped    as one  ratio  one by one ratio\n",
              static_cast<long long>(kExperts), static_cast<long long>(width),
              static_cast<long long>(hidden));
  for (const int64_t rows : all_rows) {
    const int64_t all = rows * kExperts;
    const Tensor x = noise(stream, dtype, all, hidden), y = noise(stream, dtype, all, width);
    const Tensor w = noise(stream, dtype, kExperts * width, hidden);
    const Tensor one = w.row_slice(0, width), sums({}, DType::f32, {kExperts * width, hidden});
    const Tensor offsets({}, DType::i64, {kExperts + 1});
    for (int64_t expert = 0; expert <= kExperts; ++expert)
      offsets.as<int64_t>()[expert] = expert * rows;
    fill(stream, 0, sums);
    const Tensor sum = sums.row_slice(0, width);
    Pair both = compare(stream, "forward", rows,
                        {.a = x, .b = w, .c = y, .offsets = offsets, .transpose_b = true},
                        {.a = x, .b = one, .c = y, .transpose_b = true});
    both = both + compare(stream, "d input", rows, {.a = y, .b = w, .c = x, .offsets = offsets},
                          {.a = y, .b = one, .c = x});
    GroupedGemm weights{.a = y, .b = x, .c = sums, .offsets = offsets, .weights = true};
    const Pair written =
        compare(stream, "d weight", rows, weights, {.a = y, .b = x, .c = sum, .transpose_a = true});
    weights.accumulate = true;
    const Pair added = compare(stream, "d weight +", rows, weights,
                               {.a = y, .b = x, .c = sum, .transpose_a = true});
    std::printf("all three  %4lld rows each  %.2f of one product, %.2f where weights' are added\n",
                static_cast<long long>(rows), (both + written).ratio(), (both + added).ratio());
  }
}

// One layer's forward pass: 4096 tokens, 64 experts of width 128, 6 of them each.
void measure_layer(Stream& stream, DType dtype) {
  constexpr int64_t kTokens = 4096, kMany = 64, kChosen = 6, kSmall = 128, kHidden = 512;
  const Tensor x = noise(stream, dtype, kTokens, kHidden);
  const Tensor gate = noise(stream, DType::f32, kMany, kHidden);
  const Tensor gate_up = noise(stream, dtype, kMany * 2 * kSmall, kHidden);
  const Tensor down = noise(stream, dtype, kMany * kHidden, kSmall);
  const Tensor places({}, DType::i32, {kMany}), slots({}, DType::i32, {kTokens * kChosen});
  const Tensor index({}, DType::i32, {kTokens, kChosen}),
      position({}, DType::i32, {kTokens, kChosen});
  const Tensor wide({}, DType::f32, {kTokens, kHidden}), logits({}, DType::f32, {kTokens, kMany});
  const Tensor weights({}, DType::f32, {kTokens, kChosen});
  const Tensor rows({}, dtype, {kTokens * kChosen, kHidden});
  const Tensor inner({}, dtype, {kTokens * kChosen, 2 * kSmall});
  const Tensor product({}, dtype, {kTokens * kChosen, kSmall});
  for (int32_t expert = 0; expert < kMany; ++expert) places.as<int32_t>()[expert] = expert;
  const Tensor offsets({}, DType::i64, {kMany + 1});
  std::vector<double> router, moving, experts;
  for (int round = 0; round < kRounds; ++round) {
    router.push_back(seconds_of(kRuns, [&] {
      cast(stream, x, wide);
      gemm(stream, {.a = wide, .b = gate, .c = logits, .transpose_b = true});
      router_scores(stream, Scoring::softmax, logits, logits);
      router_choose(stream, logits, {}, {}, index);
      router_weights(stream, logits, index, {}, weights);
    }));
    moving.push_back(seconds_of(kRuns, [&] {
      sort_slots(stream, index, places, slots, position, offsets);
      gather_rows(stream, x, slots, kChosen, rows);
      combine_rows(stream, rows, position, weights, x);
    }));
    experts.push_back(seconds_of(kRuns, [&] {
      grouped_gemm(stream,
                   {.a = rows, .b = gate_up, .c = inner, .offsets = offsets, .transpose_b = true});
      swiglu(stream, inner.column_slice(0, kSmall), inner.column_slice(kSmall, kSmall), product);
      grouped_gemm(stream,
                   {.a = product, .b = down, .c = rows, .offsets = offsets, .transpose_b = true});
    }));
  }
  std::printf(
      "forward of %lld tokens, 6 of 64 experts of width 128, hidden size 512: router %.2f "
      "ms, moving rows %.2f ms, experts %.2f ms\n",
      static_cast<long long>(kTokens), 1e3 * median(router), 1e3 * median(moving),
      1e3 * median(experts));
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  using namespace tessera;
  const DType dtype = argc > 1 && std::strcmp(argv[1], "f32") == 0 ? DType::f32 : DType::bf16;
  if (argc > 2) set_cpu_threads(std::atoi(argv[2]));
  omp_set_num_threads(cpu_threads());
  Stream stream{Device{}};
  std::printf("GFLOP/s, %s, %s, %d threads, median of %d pairs\n", name(dtype), name(cpu_path()),
              cpu_threads(), kRounds);
  // One shape for all numbers of rows; what recipes/deepseek_tiny.yaml and deepseek_124m.yaml do
  // with a microbatch: gate and up, then down.
  for (const Shape& shape :
       {Shape{512, 512, {8, 32, 64, 128, 256}}, Shape{192, 256, {256}}, Shape{128, 192, {256}},
        Shape{768, 1408, {256}}, Shape{704, 768, {256}}})
    measure_products(stream, dtype, shape);
  measure_layer(stream, dtype);
  return 0;
}
