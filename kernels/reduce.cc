// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce.h"

#include <algorithm>

#include "kernels/arguments.h"
#include "kernels/backend.h"
#include "kernels/transfer.h"

namespace tessera {
namespace {
void check_words(const Arguments& arguments, const Tensor& words) {
  arguments.on_device({{"words", words}});
  arguments.vector({"words", words}, ExactSum::kWords);
  arguments.of_type({"words", words}, DType::i64);
}
}  // namespace

void sum_of_squares(Stream& stream, const std::vector<Tensor>& xs, const Tensor& words,
                    const Tensor& bad) {
  const Arguments arguments(stream, "sum_of_squares:");
  for (const Tensor& x : xs) {
    arguments.on_device({{"x", x}});
    arguments.computable({"x", x});
    arguments.same_type({"the first x", xs.front()}, {"x", x});
  }
  check_words(arguments, words);
  arguments.on_device({{"bad", bad}});
  arguments.vector({"bad", bad}, std::ssize(xs));
  arguments.of_type({"bad", bad}, DType::i64);
  stream.backend().sum_of_squares(stream, xs, words, bad);
}

void exact_sum(Stream& stream, const Tensor& x, const Tensor& words) {
  const Arguments arguments(stream, "exact_sum:");
  arguments.on_device({{"x", x}});
  arguments.floating({"x", x});
  check_words(arguments, words);
  stream.backend().exact_sum(stream, x, words);
}

ExactSum read_sum(Stream& stream, const Tensor& words) {
  return read_sum(on_host(stream, words));
}

ExactSum read_sum(const Tensor& words) {
  ExactSum sum;
  check(words.size() == ExactSum::kWords, "read_sum: words are", words.shape());
  std::copy_n(words.as<int64_t>(), ExactSum::kWords, sum.words().begin());
  sum.normalize();
  return sum;
}

void write_sum(Stream& stream, const ExactSum& sum, const Tensor& words) {
  ExactSum copy = sum;
  upload_values(stream, copy.words().data(), ExactSum::kWords, DType::i64, words);
}

void count_non_finite(Stream& stream, const Tensor& x, const Tensor& count) {
  const Arguments arguments(stream, "count_non_finite:");
  arguments.on_device({{"x", x}, {"count", count}});
  arguments.floating({"x", x});
  arguments.vector({"count", count}, 1);
  arguments.of_type({"count", count}, DType::i64);
  stream.backend().count_non_finite(stream, x, count);
}

void argmax(Stream& stream, const Tensor& x, const Tensor& index) {
  const Arguments arguments(stream, "argmax:");
  arguments.on_device({{"x", x}, {"index", index}});
  arguments.floating({"x", x});
  arguments.holds(x.columns() > 0, "at least one column");
  arguments.vector({"index", index}, x.rows());
  arguments.of_type({"index", index}, DType::i32);
  stream.backend().argmax(stream, x, index);
}

}  // namespace tessera
