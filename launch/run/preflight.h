// SPDX-License-Identifier: Apache-2.0
// What is checked before a step runs: that data, tokenizer and model belong together. (And that
// the device is there: launch/job/device_choice.h.)
#pragma once

#include <string>
#include <vector>

#include "trainer/recipe.h"

namespace tessera {

struct DataSummary {
  int64_t train_tokens = 0;
  int64_t validation_tokens = 0;
  double bytes_per_token = 0;   // of the training text; 0: not recorded
  double xz_bits_per_byte = 0;  // of the validation text; 0: not measured
  std::string tokenizer;  // hash of data.tokenizer or, without one, as the data record it; or empty
  std::vector<std::string> train;   // identity_of() each of training_files() (data/identity.h)
  std::string validation;           // identity_of() the validation file; empty: there is none
  std::vector<std::string> doubts;  // sentences: hashes that may be of earlier contents
};

// Lists the PREFIXes of data.train or data.blend, in the recipe's order.
std::vector<std::string> training_files(const DataOptions& data);

// Throws Error{data} when a file is damaged or too short for one sample (validation: for one
// prediction), when data.tokenizer is not the one the data was made with, or when the model's
// vocabulary is too small for the tokenizer.
DataSummary check_data(const Recipe& recipe);
// Throws Error{data} for a token that the model's vocabulary does not have, naming file and place.
// Files whose PREFIX.json vouches for a vocabulary that fits are not read; of the others the first
// 64 Mi tokens are, and later ones are checked when a step comes to them. One rank is enough.
void check_token_ids(const Recipe& recipe);
// Measures xz on the decoded validation text; 0 without a tokenizer or for more than 16 MB.
double validation_xz(const Recipe& recipe);

// Memory that this machine could give to new processes, in bytes; 0: unknown.
int64_t available_memory();

}  // namespace tessera
