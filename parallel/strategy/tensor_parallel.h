// SPDX-License-Identifier: Apache-2.0
// Tensor parallelism with sequence parallelism (Korthikanti et al., arXiv:2205.05198, 4.2.2):
// between the matrix products a rank of the tensor group holds a slice of the rows (tokens), inside
// them a slice of the columns. The two conjugate pairs are
//   gather_rows   forward of a column-parallel layer;  its backward is scatter_sum_rows
//   scatter_sum_rows  forward of a row-parallel layer;  its backward is gather_rows
// Rows are cut evenly (Cut::even). In a group of one both hand back the very same tensor.
#pragma once

#include "parallel/communicator.h"
#include "parallel/shard.h"

namespace tessera {

class TensorParallel {
 public:
  TensorParallel(Stream& stream, Communicator& group) : stream_(&stream), group_(&group) {}

  int rank() const { return group_->rank(); }
  int size() const { return group_->size(); }
  Communicator& group() const { return *group_; }

  // mine: (my rows, C) of a tensor of `rows` rows. Returns all (rows, C).
  Tensor gather_rows(const Tensor& mine, int64_t rows, const char* tag) const;
  // partial: (rows, C), this rank's summand. Returns my rows of the sum over the group.
  Tensor scatter_sum_rows(const Tensor& partial, const char* tag) const;

 private:
  Stream* stream_;
  Communicator* group_;
};

}  // namespace tessera
