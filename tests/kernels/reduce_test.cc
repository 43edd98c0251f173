// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce.h"

#include <algorithm>
#include <limits>

#include "kernels/base/exact_sum.h"
#include "tests/support/numeric.h"

namespace tessera::test {
namespace {

Tensor no_words() {
  const Tensor words(kCpu, DType::i64, {ExactSum::kWords});
  fill(cpu_stream(), 0, words);
  return words;
}
double rounded(const Tensor& words) {
  ExactSum sum;
  std::copy_n(words.as<int64_t>(), ExactSum::kWords, sum.words().begin());
  return sum.round();
}

// Adds to words; returns which of xs are not finite.
Tensor add_squares(Stream& stream, const std::vector<Tensor>& xs, const Tensor& words) {
  const Tensor bad(kCpu, DType::i64, {std::ssize(xs)});
  fill(cpu_stream(), 0, bad);
  sum_of_squares(stream, xs, words, bad);
  return bad;
}

TEST(SumOfSquares, AgreesWithTheReferenceOnAnyThreadsAndPath) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor x = normal(dtype, 301, 700, 1), narrow = converted(x, kCpu, dtype, true);
    const Tensor truth = no_words();
    add_squares(reference_stream(), {x}, truth);
    expect_same_bits_everywhere([&] {
      const Tensor words = no_words();
      add_squares(cpu_stream(), {narrow}, words);
      EXPECT_NEAR(rounded(words) / rounded(truth), 1, 4e-15);  // 700 roundings of the truth
      return std::vector<Tensor>{words.reshaped({1, ExactSum::kWords})};
    });
  }
}

TEST(SumOfSquares, OfLongRowsAgreesWithTheReference) {
  const Tensor x = normal(DType::f32, 3, 40001, 1), truth = no_words(), words = no_words();
  add_squares(reference_stream(), {x}, truth);
  add_squares(cpu_stream(), {converted(x, kCpu, DType::f32)}, words);
  EXPECT_NEAR(rounded(words) / rounded(truth), 1, 1e-13);
}

// More tensors than one launch takes, side by side in one array, of all shapes.
struct Gradients {
  Tensor flat;
  std::vector<Tensor> each;
};
Gradients gradients(Device device, DType dtype) {
  std::vector<std::pair<int64_t, int64_t>> shapes = {{1, 9001}, {0, 5}, {1, 1}, {150, 33}, {1, 0}};
  for (int64_t i = 0; i < 200; ++i) shapes.emplace_back(1 + i % 3, i % 10);
  int64_t all = 0;
  for (const auto& [rows, columns] : shapes) all += rows * columns;
  Gradients made{converted(normal(dtype, 1, all, 1), device, dtype), {}};
  int64_t first = 0;
  for (const auto& [rows, columns] : shapes) {
    made.each.push_back(made.flat.column_slice(first, rows * columns).reshaped({rows, columns}));
    first += rows * columns;
  }
  return made;
}

TEST(SumOfSquares, OfAListIsThatOfItsTensors) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Gradients narrow = gradients(kCpu, dtype);
    std::vector<Tensor> wide;
    for (const Tensor& x : narrow.each) wide.push_back(converted(x, kReference, DType::f64));
    const Tensor truth = no_words(), alone = no_words();
    add_squares(reference_stream(), wide, truth);
    for (const Tensor& x : narrow.each) add_squares(cpu_stream(), {x}, alone);
    expect_same_bits_everywhere([&] {
      const Tensor words = no_words();
      const Tensor bad = add_squares(cpu_stream(), narrow.each, words);
      EXPECT_EQ(rounded(words), rounded(alone));
      EXPECT_NEAR(rounded(words) / rounded(truth), 1, 1e-13);
      for (int64_t i = 0; i < bad.size(); ++i) EXPECT_EQ(bad.as<int64_t>()[i], 0) << i;
      return std::vector<Tensor>{words.reshaped({1, ExactSum::kWords})};
    });
  }
}

TEST(SumOfSquares, NamesTheTensorsThatAreNotFinite) {
  const Gradients made = gradients(kCpu, DType::f32);
  const std::vector<size_t> spoilt = {0, 3, made.each.size() - 1};
  made.each[0].as<float>()[9000] = std::numeric_limits<float>::quiet_NaN();
  made.each[3].as<float>()[70] = std::numeric_limits<float>::infinity();
  made.each[3].as<float>()[4000] = -std::numeric_limits<float>::infinity();
  made.each.back().as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  std::vector<Tensor> wide;
  for (const Tensor& x : made.each) wide.push_back(converted(x, kReference, DType::f64));
  const auto expect_named = [&](Stream& stream, const std::vector<Tensor>& xs) {
    const Tensor words = no_words(), bad = add_squares(stream, xs, words);
    EXPECT_TRUE(std::isnan(rounded(words)));
    for (size_t i = 0; i < xs.size(); ++i)
      EXPECT_EQ(bad.as<int64_t>()[i], std::ranges::count(spoilt, i)) << i;
    return std::vector<Tensor>{bad};
  };
  expect_named(reference_stream(), wide);
  expect_same_bits_everywhere([&] { return expect_named(cpu_stream(), made.each); });
}

TEST(SumOfSquares, DoesNotDependOnCutsBetweenRows) {
  const Tensor x = converted(normal(DType::f32, 50, 33, 1, 1e10), kCpu, DType::f32);
  const Tensor whole = no_words(), parts = no_words();
  add_squares(cpu_stream(), {x}, whole);
  add_squares(cpu_stream(), {x.row_slice(20, 30), x.row_slice(0, 20)}, parts);
  EXPECT_EQ(rounded(whole), rounded(parts));
}

TEST(SumOfSquares, OfNothingLeavesTheSum) {
  const Tensor x = converted(normal(DType::f32, 5, 33, 1), kCpu, DType::f32), words = no_words();
  add_squares(cpu_stream(), {x}, words);
  const double before = rounded(words);
  add_squares(cpu_stream(), {}, words);
  EXPECT_EQ(rounded(words), before);
}

TEST(ExactSum, AddsEveryElement) {
  const Tensor x(kCpu, DType::f64, {1, 3}), words = no_words();
  x.as<double>()[0] = 1e300, x.as<double>()[1] = 1.5, x.as<double>()[2] = -1e300;
  exact_sum(cpu_stream(), x, words);
  EXPECT_EQ(rounded(words), 1.5);
  exact_sum(reference_stream(), x, words);
  EXPECT_EQ(rounded(words), 3.0);
}

TEST(CountNonFinite, FindsInfinitiesAndNaNsOfEveryType) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
    const Tensor wide = normal(DType::f32, 5, 37, 1);
    wide.as<double>()[3] = std::numeric_limits<double>::infinity();
    wide.as<double>()[36] = -std::numeric_limits<double>::infinity();
    wide.as<double>()[100] = std::numeric_limits<double>::quiet_NaN();
    const Tensor x = converted(wide, kCpu, dtype, true);
    expect_same_bits_everywhere([&] {
      const Tensor count(kCpu, DType::i64, {1});
      fill(cpu_stream(), 4, count);
      count_non_finite(cpu_stream(), x, count);
      EXPECT_EQ(*count.as<int64_t>(), 7);
      return std::vector<Tensor>{count};
    });
  }
}

TEST(Argmax, FindsTheLargestOfALongRow) {
  const Tensor x = converted(normal(DType::f32, 3, 700, 1), kCpu, DType::bf16);
  const Tensor index(kCpu, DType::i32, {3});
  const std::vector<int64_t> places = {650, 0, 100};
  for (size_t r = 0; r < 3; ++r) x.row<bf16>(static_cast<int64_t>(r))[places[r]] = to_bf16(9);
  x.row<bf16>(2)[300] = to_bf16(NAN);
  argmax(cpu_stream(), x, index);
  for (size_t r = 0; r < 3; ++r) EXPECT_EQ(index.as<int32_t>()[r], places[r]);
}

TEST(Argmax, TakesTheFirstOfEquals) {
  const Tensor x(kCpu, DType::f32, {2, 40}), index(kCpu, DType::i32, {2});
  fill(cpu_stream(), -1, x);
  x.row<float>(1)[17] = x.row<float>(1)[33] = 2;
  argmax(cpu_stream(), x, index);
  EXPECT_EQ(index.as<int32_t>()[0], 0);
  EXPECT_EQ(index.as<int32_t>()[1], 17);
}

}  // namespace
}  // namespace tessera::test
