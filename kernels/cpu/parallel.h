// SPDX-License-Identifier: Apache-2.0
// How CPU kernels use threads and reach rows. Work is cut into tasks by sizes alone; which thread
// runs a task is left to chance, and no result may depend on it.
#pragma once

#include <algorithm>
#include <exception>
#include <mutex>
#include <numeric>
#include <vector>

#include "kernels/base/tensor.h"
#include "kernels/cpu/loops.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu_path.h"

namespace tessera::cpu {

// Calls function(task) for each task; an exception of any task is thrown again here.
template <typename Function>
void parallel_for(int64_t tasks, Function function) {
  const int threads = static_cast<int>(std::min<int64_t>(cpu_threads(), tasks));
  if (threads <= 1) {
    for (int64_t task = 0; task < tasks; ++task) function(task);
    return;
  }
  struct Loop {
    Function& function;
    std::exception_ptr error = nullptr;
    std::mutex mutex = {};
  } loop{function};
  run_tasks(
      threads, tasks,
      [](void* context, int64_t task) {
        auto& mine = *static_cast<Loop*>(context);
        try {
          mine.function(task);
        } catch (...) {
          const std::lock_guard lock(mine.mutex);
          mine.error = std::current_exception();
        }
      },
      &loop);
  if (loop.error) std::rethrow_exception(loop.error);
}

// Calls function(which, task) for each task < tasks[which], in one loop over all of them: a thread
// that is done with one does not wait for the others before it begins the next.
template <typename Function>
void parallel_for_each(const std::vector<int64_t>& tasks, Function function) {
  std::vector<int64_t> ends(tasks.size());
  std::partial_sum(tasks.begin(), tasks.end(), ends.begin());
  parallel_for(ends.empty() ? 0 : ends.back(), [&](int64_t task) {
    const auto end = std::upper_bound(ends.begin(), ends.end(), task);
    const auto which = static_cast<size_t>(end - ends.begin());
    function(which, task - (*end - tasks[which]));
  });
}

inline int64_t divide_up(int64_t value, int64_t by) {
  return (value + by - 1) / by;
}

// Elements that one task of an elementwise pass handles: long enough to hide the start of a
// thread, short enough to balance.
constexpr int64_t kChunk = 16384;

// Calls function(row, first column, count) for pieces that cover rows x columns, in parallel.
// flat: all tensors are contiguous, so the rows may be taken as one.
template <typename Function>
void for_chunks(int64_t rows, int64_t columns, bool flat, Function function) {
  if (flat) columns *= rows, rows = 1;
  if (rows == 0 || columns == 0) return;
  const int64_t cuts = divide_up(columns, kChunk);
  const int64_t rows_each = cuts > 1 ? 1 : std::max<int64_t>(1, kChunk / columns);
  parallel_for(divide_up(rows, rows_each) * cuts, [&](int64_t task) {
    const int64_t first = task % cuts * kChunk;
    const int64_t begin = task / cuts * rows_each, end = std::min(rows, begin + rows_each);
    for (int64_t row = begin; row < end; ++row)
      function(row, first, std::min(kChunk, columns - first));
  });
}

// Calls function(row) for each row, in parallel by blocks of about kChunk elements.
template <typename Function>
void for_rows(int64_t rows, int64_t columns, Function function) {
  const int64_t each = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, columns));
  parallel_for(divide_up(rows, each), [&](int64_t task) {
    for (int64_t row = task * each; row < std::min(rows, (task + 1) * each); ++row) function(row);
  });
}

inline std::byte* at(const Tensor& tensor, int64_t row, int64_t column = 0) {
  return static_cast<std::byte*>(tensor.data()) +
         (row * tensor.pitch() + column) * size_of(tensor.dtype());
}

inline bool has_loops(DType dtype) {
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16;
}
inline Element element_of(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f32: return Element::f32;
    case DType::bf16: return Element::bf16;
    case DType::f16: return Element::f16;
    default: fail(ErrorKind::internal, "cpu: no loops for", name(tensor.dtype()));
  }
}

}  // namespace tessera::cpu
