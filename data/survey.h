// SPDX-License-Identifier: Apache-2.0
// The first pass of prepare: what the inputs are, which documents count, and where each belongs.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/documents.h"
#include "data/mixture.h"
#include "data/prepare.h"
#include "data/worker_pool.h"

namespace tessera {

struct SurveyedInput {
  std::string path, sha256;
  int64_t file_bytes = 0;
  int64_t text_bytes = 0;      // of the documents kept
  int64_t documents = 0;       // kept
  int64_t first_document = 0;  // number of its first kept document among those of all inputs
  std::vector<bool> dropped;   // by position in the file; empty: none
};

struct Survey {
  std::vector<SurveyedInput> inputs;
  TextFormat format;
  int64_t file_bytes = 0, text_bytes = 0, documents = 0, duplicates = 0;

  // Calls visit(number among all kept documents, text) for every kept document of an input.
  // Throws Error{data} if the file has changed since.
  using Visit = std::function<void(int64_t number, std::string&& text, int64_t file_bytes_read)>;
  void read(const SurveyedInput& input, const Visit& visit) const;
};

// `pool` reads several inputs at a time.
Survey survey_inputs(const PrepareOptions& options, WorkerPool& pool);

// Which part of a document goes where.
struct Slice {
  int split;          // 0 train, 1 validation, 2 test
  size_t begin, end;  // bytes of the text
};

class SplitRule {
 public:
  SplitRule(const std::vector<double>& shares, int64_t num_documents);     // Error{usage}
  std::vector<Slice> slices(int64_t number, std::string_view text) const;  // none of them empty

 private:
  std::vector<double> shares_;
  std::vector<int> split_of_source_;  // of the mixture: splits with a share above 0
  bool whole_documents_;
  Mixture mixture_;
};

}  // namespace tessera
