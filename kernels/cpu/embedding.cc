// SPDX-License-Identifier: Apache-2.0
#include "kernels/embedding.h"

#include <cstring>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace tessera::cpu {

void embedding(Stream&, const Tensor& tokens, int64_t first_token, const Tensor& table,
               const Tensor& out) {
  const auto bytes = static_cast<size_t>(out.columns() * size_of(out.dtype()));
  for_rows(out.rows(), out.columns(), [&](int64_t row) {
    const int64_t index = tokens.as<int32_t>()[row] - first_token;
    if (index >= 0 && index < table.rows())
      std::memcpy(at(out, row), at(table, index), bytes);
    else
      std::memset(at(out, row), 0, bytes);
  });
}

// Rows are sorted by token (a counting sort, which keeps their order), then each task adds to
// table rows of its own.
void embedding_backward(Stream&, const Tensor& tokens, int64_t first_token, const Tensor& dy,
                        const Tensor& dtable) {
  const int32_t* token = tokens.as<int32_t>();
  const auto slice = static_cast<size_t>(dtable.rows());
  const auto index_of = [&](int64_t row) { return static_cast<size_t>(token[row] - first_token); };
  std::vector<int64_t> ends(slice + 1, 0);
  for (int64_t row = 0; row < dy.rows(); ++row)
    if (index_of(row) < slice) ++ends[index_of(row) + 1];
  for (size_t i = 0; i < slice; ++i) ends[i + 1] += ends[i];
  const int64_t found = ends[slice];
  std::vector<int64_t> sorted(static_cast<size_t>(found));
  for (int64_t row = 0; row < dy.rows(); ++row)
    if (index_of(row) < slice) sorted[static_cast<size_t>(ends[index_of(row)]++)] = row;
  // ends[i] is now the end of table row i, and the beginning of row i + 1.
  std::vector<size_t> used;
  for (size_t i = 0; i < slice; ++i)
    if (ends[i] > (i == 0 ? 0 : ends[i - 1])) used.push_back(i);
  parallel_for(static_cast<int64_t>(used.size()), [&](int64_t task) {
    const size_t index = used[static_cast<size_t>(task)];
    for (int64_t i = index == 0 ? 0 : ends[index - 1]; i < ends[index]; ++i)
      loops().reduce.add_to(element_of(dy), at(dy, sorted[static_cast<size_t>(i)]),
                            dtable.row<float>(static_cast<int64_t>(index)), dy.columns());
  });
}

}  // namespace tessera::cpu
