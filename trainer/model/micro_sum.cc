// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/micro_sum.h"

#include <utility>

#include "kernels/copy.h"
#include "kernels/elementwise.h"

namespace tessera {

void MicroSum::add(Stream& stream, const Tensor& summand) {
  if (!as_tree_) {
    if (std::exchange(empty_, false)) return copy(stream, summand, target_);
    return tessera::add(stream, target_, summand, target_);
  }
  Tensor carry(summand.device(), summand.dtype(), {summand.rows(), summand.columns()},
               MemoryClass::gradients);
  copy(stream, summand, carry);
  for (Tensor& level : levels_) {
    if (level.empty()) {
      level = carry;
      return;
    }
    tessera::add(stream, level, carry, carry);
    level = {};
  }
  levels_.push_back(carry);
}

// Of a number that is no power of two, what is left goes to the larger part, from the end.
void MicroSum::finish(Stream& stream) {
  Tensor rest;
  for (const Tensor& level : levels_) {
    if (level.empty()) continue;
    if (!rest.empty()) tessera::add(stream, level, rest, level);
    rest = level;
  }
  if (!rest.empty()) copy(stream, rest, target_);
  if (rest.empty() && empty_) fill(stream, 0, target_);
  empty_ = true;
  levels_.clear();
}

}  // namespace tessera
