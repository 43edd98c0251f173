// SPDX-License-Identifier: Apache-2.0
#include "parallel/strategy/tensor_parallel.h"

namespace tessera {

Tensor TensorParallel::gather_rows(const Tensor& mine, int64_t rows, const char* tag) const {
  if (size() == 1) return mine;
  const Tensor all(mine.device(), mine.dtype(), {rows, mine.columns()});
  group_->all_gather(*stream_, mine, Cut::even(rows, size()), all, tag);
  return all;
}

Tensor TensorParallel::scatter_sum_rows(const Tensor& partial, const char* tag) const {
  if (size() == 1) return partial;
  const Cut cut = Cut::even(partial.rows(), size());
  const Tensor mine(partial.device(), partial.dtype(),
                    {cut.part(rank()).extent, partial.columns()});
  group_->reduce_scatter(*stream_, partial, cut, mine, Reduce::sum, tag);
  return mine;
}

}  // namespace tessera
