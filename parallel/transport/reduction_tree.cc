// SPDX-License-Identifier: Apache-2.0
#include "parallel/transport/reduction_tree.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu_path.h"

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

// Calls function with a way to combine two numbers.
template <typename W, typename Function>
void with_operation(Reduce op, Function&& function) {
  switch (op) {
    case Reduce::sum: return function([](W a, W b) { return a + b; });
    case Reduce::max: return function([](W a, W b) { return std::max(a, b); });
    case Reduce::min: return function([](W a, W b) { return std::min(a, b); });
  }
}

// Elements first .. first + count - 1. scratch: for every second part, `count` wide numbers.
template <typename In, typename Out, typename Combine>
void reduce_block(const std::vector<const void*>& parts, Out* out, int64_t first, int64_t count,
                  const Combine& combine, Wide<In>* scratch) {
  using W = Wide<In>;
  const size_t num_parts = parts.size();
  const auto part_at = [&](size_t part) { return static_cast<const In*>(parts[part]) + first; };
  const auto wide_at = [&](size_t part) {
    return scratch + static_cast<int64_t>(part / 2) * count;
  };
  if (num_parts == 2) {  // the tree is one level: no scratch between it and the result
    const In *left = part_at(0), *right = part_at(1);
    for (int64_t i = 0; i < count; ++i)
      out[first + i] = narrow_to<Out>(combine(widen(left[i]), widen(right[i])));
    return;
  }
  for (size_t part = 0; part < num_parts; part += 2) {
    const In* left = part_at(part);
    W* target = wide_at(part);
    if (part + 1 < num_parts) {
      const In* right = part_at(part + 1);
      for (int64_t i = 0; i < count; ++i) target[i] = combine(widen(left[i]), widen(right[i]));
    } else {
      for (int64_t i = 0; i < count; ++i) target[i] = widen(left[i]);
    }
  }
  for (size_t step = 2; step < num_parts; step *= 2)
    for (size_t left = 0; left + step < num_parts; left += 2 * step) {
      W* target = wide_at(left);
      const W* right = wide_at(left + step);
      for (int64_t i = 0; i < count; ++i) target[i] = combine(target[i], right[i]);
    }
  for (int64_t i = 0; i < count; ++i) out[first + i] = narrow_to<Out>(scratch[i]);
}

template <typename In, typename Out, typename Combine>
void reduce_typed(const std::vector<const void*>& parts, Out* out, int64_t count,
                  const Combine& combine) {
  const int64_t block = std::min(count, kBlock), num_blocks = (count + kBlock - 1) / kBlock;
  constexpr int64_t kParallelBlocks = 128;  // below 256 Ki elements a thread team costs more
  // NOTE: never more threads than this rank's: a team that spins keeps the other ranks' cores.
#pragma omp parallel if (num_blocks >= kParallelBlocks) num_threads(cpu_threads())
  {
    std::vector<Wide<In>> scratch((parts.size() + 1) / 2 * static_cast<size_t>(block));
#pragma omp for
    for (int64_t i = 0; i < num_blocks; ++i)
      reduce_block<In, Out>(parts, out, i * kBlock, std::min(kBlock, count - i * kBlock), combine,
                            scratch.data());
  }
}

template <typename In, typename Out>
void reduce_into(const std::vector<const void*>& parts, void* out, int64_t count, Reduce op) {
  with_operation<Wide<In>>(op, [&](const auto& combine) {
    reduce_typed<In, Out>(parts, static_cast<Out*>(out), count, combine);
  });
}

}  // namespace

void reduce_tree(const std::vector<const void*>& parts, DType in, void* out, DType out_dtype,
                 int64_t count, Reduce op) {
  check(out_dtype == in || out_dtype == accumulation_type(in), "reduce_tree: cannot reduce",
        name(in), "into", name(out_dtype));
  visit(in, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (out_dtype == in)
      reduce_into<T, T>(parts, out, count, op);
    else
      reduce_into<T, Wide<T>>(parts, out, count, op);
  });
}

}  // namespace tessera
