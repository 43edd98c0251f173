// SPDX-License-Identifier: Apache-2.0
#include "kernels/reduce.h"

#include <mutex>

#include "kernels/base/exact_sum.h"
#include "kernels/cpu/parallel.h"
#include "kernels/reference/convert.h"

namespace tessera {
namespace reference {
decltype(tessera::count_non_finite) count_non_finite;
}  // namespace reference

namespace cpu {
namespace {

// words += what function(sum, x, row) adds for each row of each x; bad[x] = 1 where that is not
// finite. Exact, so that the order in which tasks end does not matter.
template <typename Function>
void add_rows_exactly(const std::vector<Tensor>& xs, const Tensor& words, int64_t* bad,
                      Function function) {
  ExactSum total;
  std::copy_n(words.as<int64_t>(), ExactSum::kWords, total.words().begin());
  std::mutex mutex;
  const auto rows_each = [](const Tensor& x) {
    return std::max<int64_t>(1, 8 * kChunk / std::max<int64_t>(1, x.columns()));
  };
  std::vector<int64_t> tasks;
  for (const Tensor& x : xs) tasks.push_back(divide_up(x.rows(), rows_each(x)));
  parallel_for_each(tasks, [&](size_t which, int64_t task) {
    const Tensor& x = xs[which];
    const int64_t first = task * rows_each(x), end = std::min(x.rows(), first + rows_each(x));
    ExactSum part;
    for (int64_t row = first; row < end; ++row) function(part, x, row);
    const std::lock_guard lock(mutex);
    total.add(part);
    if (bad != nullptr && !part.finite()) bad[which] = 1;
  });
  total.normalize();
  std::copy_n(total.words().begin(), ExactSum::kWords, words.as<int64_t>());
}

}  // namespace

void sum_of_squares(Stream&, const std::vector<Tensor>& xs, const Tensor& words,
                    const Tensor& bad) {
  add_rows_exactly(xs, words, bad.as<int64_t>(), [&](ExactSum& sum, const Tensor& x, int64_t row) {
    sum.add(loops().reduce.sum_of_squares(element_of(x), at(x, row), x.columns()));
  });
}

void exact_sum(Stream&, const Tensor& x, const Tensor& words) {
  visit(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    add_rows_exactly({x}, words, nullptr, [](ExactSum& sum, const Tensor& from, int64_t row) {
      for (int64_t i = 0; i < from.columns(); ++i)
        sum.add(reference::to_double(from.row<T>(row)[i]));
    });
  });
}

void count_non_finite(Stream& stream, const Tensor& x, const Tensor& count) {
  if (!has_loops(x.dtype())) return reference::count_non_finite(stream, x, count);
  std::mutex mutex;
  for_chunks(x.rows(), x.columns(), x.contiguous(), [&](int64_t row, int64_t first, int64_t some) {
    const int64_t found = loops().reduce.count_non_finite(element_of(x), at(x, row, first), some);
    if (found == 0) return;
    const std::lock_guard lock(mutex);
    *count.as<int64_t>() += found;
  });
}

void argmax(Stream&, const Tensor& x, const Tensor& index) {
  visit(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for_rows(x.rows(), x.columns(), [&](int64_t row) {
      const T* in = x.row<T>(row);
      int64_t best = 0;
      for (int64_t i = 1; i < x.columns(); ++i)
        if (reference::to_double(in[i]) > reference::to_double(in[best])) best = i;
      index.as<int32_t>()[row] = static_cast<int32_t>(best);
    });
  });
}

}  // namespace cpu
}  // namespace tessera
