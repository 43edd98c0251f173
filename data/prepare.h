// SPDX-License-Identifier: Apache-2.0
// Text to token files: what `tessera data prepare` does.
//
//   inputs --survey--> hashes, counts, duplicates --> tokenizer --> parts -->
//   OUT/train.{bin,idx,json}
//                                                                             OUT/validation.{...}
//                                                                             OUT/tokenizer.json
//
// Deterministic: the same inputs and options give the same bytes, whatever the number of workers
// and however often it was killed and started again. Work that is finished is kept in OUT/.prepare
// until the end and not done twice; run again on unchanged inputs it only reads them and says so.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"

namespace tessera {

struct PrepareProgress {
  std::string_view stage;  // "survey", "tokenizer", "encode", "assemble"
  int64_t done = 0;        // bytes of input files (assemble: tokens)
  int64_t total = 0;
};

struct PrepareOptions {
  std::vector<std::string> inputs{};     // files, globs, directories: data/documents.h
  std::string output{};                  // a directory, made if need be
  std::string tokenizer = "train:8192";  // train:VOCABULARY, bytes, chars, or a tokenizer.json
  // Shares of train, validation, test. Whole documents go to one of them, evenly spread; with fewer
  // than 100 documents each is cut instead: its last part is validation.
  std::vector<double> split = {0.98, 0.02};
  std::string format = "auto";                // auto | text | jsonl: data/documents.h
  std::string text_key = "text";              // of JSON Lines
  std::string document_separator{};           // of plain text; \n and \t are understood
  int workers = 0;                            // threads; 0: one a core
  bool dedup_exact = false;                   // of equal documents only the first is kept
  int64_t part_bytes = int64_t{64} << 20;     // of inputs: what a restart may have to redo
  int64_t training_bytes = int64_t{1} << 30;  // text that a tokenizer is trained on, evenly spread
  std::function<void(const PrepareProgress&)> progress{};  // on the caller's thread; may be empty
};

struct PrepareReport {
  struct Split {
    std::string prefix;  // OUT/train
    int64_t documents = 0, tokens = 0, bytes = 0;
  };
  std::string tokenizer;  // OUT/tokenizer.json
  std::string tokenizer_hash;
  int64_t vocab_size = 0;
  std::vector<Split> splits;
  int64_t inputs = 0, input_bytes = 0;
  int64_t documents = 0;   // kept
  int64_t duplicates = 0;  // left out
  int64_t parts = 0, parts_reused = 0;
  bool up_to_date = false;  // there was nothing to do
  double seconds = 0;
};

// Throws Error{data} about an input, Error{usage} about an option, Error{storage}.
PrepareReport prepare(const PrepareOptions& options);

}  // namespace tessera
