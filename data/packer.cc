// SPDX-License-Identifier: Apache-2.0
#include "data/packer.h"

#include <algorithm>

#include "kernels/base/check.h"

namespace tessera {
namespace {

// Cuts the row [first, first + inputs) at document boundaries.
void keep_documents_apart(const TokenFile& file, int64_t first, int64_t inputs, int32_t* targets,
                          int32_t* positions, int32_t* starts) {
  int64_t document = file.document_of(first);
  int64_t begin = first, end = file.document_begin(document + 1);
  for (int64_t i = 0; i < inputs; ++i) {
    while (first + i >= end) {  // also steps over empty documents
      begin = end;
      end = file.document_begin(++document + 1);
    }
    starts[i] = static_cast<int32_t>(begin - first);
    positions[i] = static_cast<int32_t>(first + i - begin);
    if (first + i + 1 >= end) targets[i] = -1;
  }
}

}  // namespace

void append_row(const TokenFile& file, int64_t first, const RowOptions& options,
                MicroBatch& batch) {
  const int64_t length = options.sequence_length;
  check(first >= 0 && first < file.num_tokens(), "a row must begin inside the file:", first);
  const int64_t count = std::min(length + 1, file.num_tokens() - first);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  file.read(first, count, ids.data());
  check_ids(file, first, ids, options.vocab_size);

  const auto at = static_cast<size_t>(batch.num_sequences * length);
  const size_t end = at + static_cast<size_t>(length);
  const int64_t inputs = std::min(length, count);
  batch.tokens.resize(end, 0);
  batch.targets.resize(end, -1);
  batch.positions.resize(end);
  std::copy_n(ids.begin(), inputs, batch.tokens.begin() + static_cast<int64_t>(at));
  std::copy(ids.begin() + 1, ids.end(), batch.targets.begin() + static_cast<int64_t>(at));
  for (size_t i = at; i < end; ++i) batch.positions[i] = static_cast<int32_t>(i - at);
  if (!options.attend_across_documents) {
    batch.document_starts.resize(end, 0);
    keep_documents_apart(file, first, inputs, &batch.targets[at], &batch.positions[at],
                         &batch.document_starts[at]);
    // The filling after the end of the file sees nothing but itself.
    for (auto i = at + static_cast<size_t>(inputs); i < end; ++i) {
      batch.document_starts[i] = static_cast<int32_t>(inputs);
      batch.positions[i] = static_cast<int32_t>(i - at) - static_cast<int32_t>(inputs);
    }
  }
  batch.num_targets += length - std::count(batch.targets.begin() + static_cast<int64_t>(at),
                                           batch.targets.end(), -1);
  ++batch.num_sequences;
}

void check_ids(const TokenFile& file, int64_t first, std::span<const int32_t> ids,
               int64_t vocab_size) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < vocab_size) continue;
    fail(ErrorKind::data, file.bin_path() + ": token", first + static_cast<int64_t>(i), "is",
         ids[i], "but the model's vocab_size is", vocab_size,
         "- prepare the data with the model's tokenizer, or raise model.vocab_size");
  }
}

void require_windows(const TokenFile& file, int64_t sequence_length) {
  check(whole_windows(file, sequence_length) >= 1, ErrorKind::data, file.bin_path() + ": has",
        file.num_tokens(), "tokens, but one sample needs", sequence_length + 1,
        "(data.sequence_length + 1)");
}

void require_targets(const TokenFile& file) {
  check(file.num_tokens() >= 2, ErrorKind::data, file.bin_path() + ": has", file.num_tokens(),
        "tokens, but evaluation needs at least 2");
}

int64_t whole_windows(const TokenFile& file, int64_t sequence_length) {
  return std::max<int64_t>(0, file.num_tokens() - 1) / sequence_length;
}

}  // namespace tessera
