// SPDX-License-Identifier: Apache-2.0
// Evaluation data: fixed windows in stored order that do not depend on seed or layout. Every token
// of the file but the first is predicted exactly once; shards read disjoint ranges of windows.
#pragma once

#include <cstdint>
#include <string>

#include "data/packer.h"

namespace tessera {

class EvalWindows {
 public:
  EvalWindows(const std::string& prefix, int64_t sequence_length, int64_t vocab_size,
              bool attend_across_documents = true);

  int64_t count() const;  // windows; the last one may be partial
  // Windows [first, first + num); beyond the last token targets are -1. Windows beyond count() come
  // out with no targets at all, so that shards may read equally many. Thread-safe.
  MicroBatch read(int64_t first, int64_t num) const;
  const TokenFile& file() const { return file_; }

 private:
  TokenFile file_;
  RowOptions row_;
};

}  // namespace tessera
