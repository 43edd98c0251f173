// SPDX-License-Identifier: Apache-2.0
// Reductions whose result does not depend on the number of threads, on cuts or on ranks.
// `words` is the integer image of an ExactSum (kernels/base/exact_sum.h): (ExactSum::kWords) i64 on
// the stream's device, zero at first; summed over ranks as plain integers.
#pragma once

#include <vector>

#include "kernels/base/exact_sum.h"
#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

// words += sum of x^2 over all of xs: each row in f64 in a fixed order, rows added exactly. An
// element that is not finite makes the sum non-finite; bad (size of xs) i64 becomes 1 for each x
// that has one, and stays as it is for the others. xs are of one type. On a GPU a few launches for
// a whole model.
void sum_of_squares(Stream& stream, const std::vector<Tensor>& xs, const Tensor& words,
                    const Tensor& bad);

// words += every element of x, exactly.
void exact_sum(Stream& stream, const Tensor& x, const Tensor& words);

// Words as the sum that they are, normalized, and back. read_sum() waits for the stream, or takes
// words in the host's memory.
ExactSum read_sum(Stream& stream, const Tensor& words);
ExactSum read_sum(const Tensor& words);
void write_sum(Stream& stream, const ExactSum& sum, const Tensor& words);

// count (1) i64 += number of elements of x that are infinite or NaN.
void count_non_finite(Stream& stream, const Tensor& x, const Tensor& count);

// index (rows) i32 = the column of the largest element of each row (the first of equals).
void argmax(Stream& stream, const Tensor& x, const Tensor& index);

}  // namespace tessera
