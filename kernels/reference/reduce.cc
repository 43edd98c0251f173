// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/exact_sum.h"
#include "kernels/reference/convert.h"

namespace tessera::reference {
namespace {
template <typename Function>
void for_each_row(const Tensor& x, Function function) {  // function(row, double at(column))
  visit(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t r = 0; r < x.rows(); ++r)
      function(r, [&](int64_t column) { return to_double(x.row<T>(r)[column]); });
  });
}

// words += sum of the terms that `add_terms` gives to an ExactSum.
template <typename Function>
void add_to_words(const Tensor& words, Function add_terms) {
  ExactSum sum, terms;
  std::copy_n(words.as<int64_t>(), ExactSum::kWords, sum.words().begin());
  add_terms(terms);
  sum.add(terms);
  std::copy_n(sum.words().begin(), ExactSum::kWords, words.as<int64_t>());
}
}  // namespace

void sum_of_squares(Stream&, const std::vector<Tensor>& xs, const Tensor& words,
                    const Tensor& bad) {
  add_to_words(words, [&](ExactSum& total) {
    for (size_t which = 0; which < xs.size(); ++which)
      for_each_row(xs[which], [&](int64_t, auto at) {
        double squares = 0;
        for (int64_t i = 0; i < xs[which].columns(); ++i) squares += at(i) * at(i);
        total.add(squares);
        if (!std::isfinite(squares)) bad.as<int64_t>()[which] = 1;
      });
  });
}

void exact_sum(Stream&, const Tensor& x, const Tensor& words) {
  add_to_words(words, [&](ExactSum& total) {
    for_each_row(x, [&](int64_t, auto at) {
      for (int64_t i = 0; i < x.columns(); ++i) total.add(at(i));
    });
  });
}

void count_non_finite(Stream&, const Tensor& x, const Tensor& count) {
  for_each_row(x, [&](int64_t, auto at) {
    for (int64_t i = 0; i < x.columns(); ++i)
      if (!std::isfinite(at(i))) ++*count.as<int64_t>();
  });
}

void argmax(Stream&, const Tensor& x, const Tensor& index) {
  for_each_row(x, [&](int64_t r, auto at) {
    int64_t best = 0;
    for (int64_t i = 1; i < x.columns(); ++i)
      if (at(i) > at(best)) best = i;
    index.as<int32_t>()[r] = static_cast<int32_t>(best);
  });
}

}  // namespace tessera::reference
