// SPDX-License-Identifier: Apache-2.0
// Rows of flags that several verbs have (verb.h).
#pragma once

#include "launch/verb/verb.h"

namespace tessera {

// The most ranks that a command line may ask for.
constexpr int64_t kMostRanks = int64_t{1} << 20;

Flag recipe_row(std::string& path, const std::string& help = "recipe file");
Flag overrides_row(std::vector<std::string>& overrides, const std::string& help = "key=value ...");
Flag json_row(bool& json);
Flag take_over_row(bool& take_over);
Flag allow_changed_row(std::string& list);
// PATH of a checkpoint: a run directory, a directory of steps, or one step.
Flag checkpoint_row(std::string& path);
// A model to read text with: the same, or a Hugging Face directory.
Flag model_row(std::string& path);

}  // namespace tessera
