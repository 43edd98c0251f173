// SPDX-License-Identifier: Apache-2.0
// Fixed-length rows out of the stored stream: S inputs, and S targets that are the inputs one token
// later. Documents are packed back to back; whether a row's attention and targets may cross from
// one document into the next is the recipe's choice.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/token_file.h"

namespace tessera {

// Rows of sequence_length tokens each, one after the other in every vector.
struct MicroBatch {
  int64_t num_sequences = 0;
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets;    // -1: no target here
  std::vector<int32_t> positions;  // 0 .. S-1; restart at documents if they are kept apart
  // First position within the row that this one may see; empty when all are 0, that is when
  // attention crosses documents.
  std::vector<int32_t> document_starts;
  int64_t num_targets = 0;  // targets that are not -1
};

struct RowOptions {
  int64_t sequence_length = 0;
  int64_t vocab_size = 0;  // a token id outside 0 .. vocab_size - 1 is Error{data}
  bool attend_across_documents = true;
};

// Appends the row whose first input is stream token `first` to `batch`. A row that runs over the
// end of the file is filled up with token 0 and targets -1. Thread-safe for distinct batches.
// REQUIRES 0 <= first < file.num_tokens().
void append_row(const TokenFile& file, int64_t first, const RowOptions& options, MicroBatch& batch);

// Windows of S + 1 tokens that overlap by one: how many whole ones fit.
int64_t whole_windows(const TokenFile& file, int64_t sequence_length);

// Conditions that trainers and evaluations have of a file, so that a run can check them before it
// begins. Each throws Error{data} naming the file: no whole window; no token to predict; a token
// `ids[i]`, which is stream token first + i, outside 0 .. vocab_size - 1.
void require_windows(const TokenFile& file, int64_t sequence_length);
void require_targets(const TokenFile& file);
void check_ids(const TokenFile& file, int64_t first, std::span<const int32_t> ids,
               int64_t vocab_size);

}  // namespace tessera
