// SPDX-License-Identifier: Apache-2.0
// Where people point when they say CKPT: a step directory, a directory of steps, or a run
// directory; and a model ready to read or write text from it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "checkpoint/reader.h"
#include "data/tokenizer.h"
#include "launch/recipe/reader.h"
#include "trainer/generator.h"
#include "trainer/hub/hub_model.h"

namespace tessera {

// The step directory that `path` means: itself, or the newest valid step in it or in
// path/checkpoints. Throws Error{checkpoint} with the reasons when there is none.
std::string resolve_checkpoint(Storage& storage, const std::string& path);

// A Hugging Face directory as a recipe that has its model, computes in f32 and trains on nothing.
LoadedRecipe recipe_of_hub(const HubModel& hub, const std::vector<std::string>& overrides);

// Logs a warning when the checkpoint's router was trained under an earlier rule for groups of
// experts. model: that of the checkpoint's recipe.
void warn_of_group_rule(const CheckpointReader& checkpoint, const ModelOptions& model);

struct OpenModel {
  LoadedRecipe recipe;
  std::string directory;
  int64_t step = 0;
  std::unique_ptr<LanguageModel> model;
  std::optional<Tokenizer> tokenizer;  // of data.tokenizer, when the file is still there
  std::string tokenizer_hash;          // of the one whose ids the model knows; empty: not known
};

struct OpenOptions {
  std::vector<std::string> overrides = {};
  std::string allow_changed = {};  // launch/run/made_with.h
  bool reads_text = true;  // false: token ids alone, for which no tokenizer is needed or compared
};

// path: a checkpoint or a Hugging Face directory. Loads the weights on the CPU (or the reference
// device when the recipe says so). Where `path` leaves the step open, a checkpoint whose data are
// damaged is passed over with a warning, as at resume; Error{checkpoint} when none is sound.
// Error{usage} or Error{data} when the model or the tokenizer is not the one that the checkpoint
// was made with, and allow_changed does not name it.
OpenModel open_model(Storage& storage, const std::string& path, const OpenOptions& options);

// Compares the tokenizer that a checkpoint's recipe names with the one that the checkpoint was made
// with. Error{data} when they differ and `allow_changed` does not name it. Nothing is read where
// the checkpoint does not tell, or its tokenizer is not there.
void check_tokenizer(const CheckpointReader& checkpoint, const Recipe& recipe,
                     const std::string& allow_changed);

}  // namespace tessera
