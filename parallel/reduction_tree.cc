// SPDX-License-Identifier: Apache-2.0
#include "parallel/reduction_tree.h"

#include <algorithm>
#include <type_traits>

namespace tessera {
namespace {

constexpr int64_t kBlock = 2048;  // elements per pass: all levels of the tree stay in the L1 cache

template <typename T>
using Wide = std::conditional_t<
    std::is_same_v<T, bf16> || std::is_same_v<T, f16> || std::is_same_v<T, f8_e4m3>, float, T>;

template <typename T>
Wide<T> widen(T value) {
  if constexpr (std::is_same_v<Wide<T>, T>)
    return value;
  else
    return to_float(value);
}

template <typename T, typename W>
T narrow_to(W value) {
  if constexpr (std::is_same_v<T, W>)
    return value;
  else
    return Narrow<T>::from(value);
}

template <typename W>
void combine(W* left, const W* right, int64_t count, Reduce op) {
  switch (op) {
    case Reduce::sum:
      for (int64_t i = 0; i < count; ++i) left[i] += right[i];
      break;
    case Reduce::max:
      for (int64_t i = 0; i < count; ++i) left[i] = std::max(left[i], right[i]);
      break;
    case Reduce::min:
      for (int64_t i = 0; i < count; ++i) left[i] = std::min(left[i], right[i]);
      break;
  }
}

template <typename In, typename Out>
void reduce_block(const std::vector<const void*>& parts, Out* out, int64_t first, int64_t count,
                  Reduce op, std::vector<Wide<In>>& scratch) {
  using W = Wide<In>;
  const size_t num_parts = parts.size();
  for (size_t part = 0; part < num_parts; ++part) {
    const In* source = static_cast<const In*>(parts[part]) + first;
    W* target = scratch.data() + static_cast<int64_t>(part) * kBlock;
    for (int64_t i = 0; i < count; ++i) target[i] = widen(source[i]);
  }
  for (size_t step = 1; step < num_parts; step *= 2)
    for (size_t left = 0; left + step < num_parts; left += 2 * step)
      combine(scratch.data() + static_cast<int64_t>(left) * kBlock,
              scratch.data() + static_cast<int64_t>(left + step) * kBlock, count, op);
  for (int64_t i = 0; i < count; ++i)
    out[first + i] = narrow_to<Out>(scratch[static_cast<size_t>(i)]);
}

template <typename In, typename Out>
void reduce_typed(const std::vector<const void*>& parts, Out* out, int64_t count, Reduce op) {
  const int64_t num_blocks = (count + kBlock - 1) / kBlock;
  constexpr int64_t kParallelBlocks = 32;  // below 64 Ki elements a thread team costs more
#pragma omp parallel if (num_blocks >= kParallelBlocks)
  {
    std::vector<Wide<In>> scratch(parts.size() * kBlock);
#pragma omp for
    for (int64_t block = 0; block < num_blocks; ++block)
      reduce_block<In, Out>(parts, out, block * kBlock, std::min(kBlock, count - block * kBlock),
                            op, scratch);
  }
}

}  // namespace

void reduce_tree(const std::vector<const void*>& parts, DType in, void* out, DType out_dtype,
                 int64_t count, Reduce op) {
  check(out_dtype == in || out_dtype == accumulation_type(in), "reduce_tree: cannot reduce",
        name(in), "into", name(out_dtype));
  visit(in, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (out_dtype == in)
      reduce_typed<T, T>(parts, static_cast<T*>(out), count, op);
    else
      reduce_typed<T, Wide<T>>(parts, static_cast<Wide<T>*>(out), count, op);
  });
}

}  // namespace tessera
