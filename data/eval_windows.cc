// SPDX-License-Identifier: Apache-2.0
#include "data/eval_windows.h"

#include "kernels/base/check.h"

namespace tessera {

EvalWindows::EvalWindows(const std::string& prefix, int64_t sequence_length, int64_t vocab_size,
                         bool attend_across_documents)
    : file_(TokenFile::open(prefix)), row_{sequence_length, vocab_size, attend_across_documents} {
  check(sequence_length >= 1, ErrorKind::usage, "sequence_length must be at least 1, got",
        sequence_length);
  require_targets(file_);
}

int64_t EvalWindows::count() const {
  return (file_.num_tokens() - 1 + row_.sequence_length - 1) / row_.sequence_length;
}

MicroBatch EvalWindows::read(int64_t first, int64_t num) const {
  check(first >= 0 && num >= 0, "no such windows:", first, num);
  MicroBatch rows;
  for (int64_t window = first; window < first + num; ++window) {
    if (window < count()) {
      append_row(file_, window * row_.sequence_length, row_, rows);
      continue;
    }
    append_row(file_, 0, row_, rows);  // any valid tokens
    const int64_t begin = (rows.num_sequences - 1) * row_.sequence_length;
    for (auto target = rows.targets.begin() + begin; target != rows.targets.end(); ++target) {
      rows.num_targets -= *target != -1;
      *target = -1;
    }
  }
  return rows;
}

}  // namespace tessera
