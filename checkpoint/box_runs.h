// SPDX-License-Identifier: Apache-2.0
// Two boxes of one tensor, each stored row-major and dense, share some elements: which stretches of
// the one are which stretches of the other? All of resharding's copying goes through here.
#pragma once

#include <cstddef>
#include <vector>

#include "parallel/shard.h"

namespace tessera {

// Calls run(first_in_source, first_in_target, count), in elements, for the elements of `overlap`
// (inside both boxes), by increasing position; runs are as long as the boxes allow.
template <typename Run>
void for_each_run(const Box& source, const Box& target, const Box& overlap, Run&& run) {
  const size_t dims = overlap.extent.size();
  // Trailing dims that are whole in both boxes melt into one run.
  size_t inner = dims - 1;
  int64_t count = overlap.extent[inner];
  while (inner > 0 && overlap.extent[inner] == source.extent[inner] &&
         overlap.extent[inner] == target.extent[inner])
    count *= overlap.extent[--inner];

  std::vector<int64_t> index(dims, 0);  // within the overlap; only dims before `inner` count up
  for (;;) {
    int64_t in_source = 0, in_target = 0;
    for (size_t dim = 0; dim < dims; ++dim) {
      const int64_t at = overlap.offset[dim] + index[dim];
      in_source = in_source * source.extent[dim] + at - source.offset[dim];
      in_target = in_target * target.extent[dim] + at - target.offset[dim];
    }
    run(in_source, in_target, count);
    size_t dim = inner;
    while (dim > 0 && ++index[dim - 1] == overlap.extent[dim - 1]) index[--dim] = 0;
    if (dim == 0) return;
  }
}

}  // namespace tessera
