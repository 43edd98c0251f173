// SPDX-License-Identifier: Apache-2.0
// A sum over the microbatches of a step in one of two orders:
//   in turn    ((g0 + g1) + g2) + g3 ...
//   as a tree  (g0 + g1) + (g2 + g3) ..., by a binary counter: log2 of the summands are kept.
// The tree continues that of the data ranks (parallel/transport/reduction_tree.h), so that moving a
// factor of two between data ranks and microbatches changes no bit (docs/numerics.md, layout_free).
#pragma once

#include <vector>

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"

namespace tessera {

class MicroSum {
 public:
  // target (R, C): holds the sum after finish(); zeros, if there was nothing to add.
  MicroSum(Tensor target, bool as_tree) : target_(std::move(target)), as_tree_(as_tree) {}
  void add(Stream& stream, const Tensor& summand);
  void finish(Stream& stream);

 private:
  Tensor target_;
  bool as_tree_;
  bool empty_ = true;
  std::vector<Tensor> levels_;  // level i: the sum of 2^i summands, or empty
};

}  // namespace tessera
