// SPDX-License-Identifier: Apache-2.0
// What every transport asks of the arguments of a collective before it moves a byte, and the
// arithmetic on rows that it needs. Throws Error{internal} naming the operation and the tensors.
#pragma once

#include <cstddef>

#include "kernels/base/tensor.h"
#include "parallel/shard.h"

namespace tessera {

void check_all_reduce(const Tensor& in, const Tensor& out);
void check_reduce_scatter(const Tensor& in, const Cut& cut, const Tensor& out, int rank, int size);
void check_all_gather(const Tensor& in, const Cut& cut, const Tensor& out, int rank, int size);
void check_all_to_all(const Tensor& in, const Cut& in_cut, const Tensor& out, const Cut& out_cut,
                      int rank, int size);
void check_contiguous(const char* operation, const Tensor& x);  // broadcast, send, receive

// The elements of one row (dim 0) of x, and the bytes of a part of its rows.
int64_t row_elements(const Tensor& x);
struct Bytes {
  std::byte* data;  // null when there are none
  int64_t size;
};
Bytes bytes_of(const Tensor& x);
Bytes bytes_of(const Tensor& x, const Interval& rows);

}  // namespace tessera
