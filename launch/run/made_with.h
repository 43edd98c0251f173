// SPDX-License-Identifier: Apache-2.0
// A checkpoint tells what it was made with: tokenizer, token files, recipe and program. A run
// writes them into the scalars of its checkpoints (docs/formats/checkpoint.md); whoever goes on
// from one compares them with what is there now. Where the weights would compute something else, or
// learn from other data than their cursor counts in, going on is refused unless the command line
// allows it; every other change is told in one line. Nothing here communicates but agree_on().
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "launch/run/preflight.h"
#include "parallel/world.h"
#include "trainer/recipe.h"

namespace tessera {

// Empty members are not known, and nothing is compared with them.
struct MadeWith {
  std::string tokenizer;           // Tokenizer::hash()
  std::vector<std::string> train;  // identity_of() each training file, in the recipe's order
  std::string validation;          // identity_of()
  std::string recipe;              // recipe_hash()
  std::string program;             // program_identity()
};

MadeWith made_with(const Recipe& recipe, const DataSummary& data);
std::map<std::string, std::string> scalars_of(const MadeWith& made);
// nullopt: no scalar tells, since an earlier version saved the checkpoint or it was imported.
std::optional<MadeWith> made_with(const std::map<std::string, std::string>& scalars);

// Throws Error{data} unless all ranks (of_ranks[r] is rank r's) read one tokenizer and the same
// token files, naming the first rank that does not, and the file. recipe: whose files these are.
void require_equal_files(const Recipe& recipe, const std::vector<MadeWith>& of_ranks);
// Collective, and the first after each rank has looked at its files: require_equal_files() on all,
// then rank 0's. A rank that runs another build is only a warning (W063).
MadeWith agree_on(World& world, const Recipe& recipe, const MadeWith& mine);

// Shortens a hash for a message.
std::string brief_hash(const std::string& hash);

struct Changed {
  enum class Kind { model, tokenizer, data, harmless };
  Kind kind;
  std::string what;  // "model.rope_theta", "the tokenizer"
  std::string before, now;
};

// Lists what has changed from the checkpoint with this manifest to what is there now. All changes
// are harmless for a checkpoint that does not tell what it was made with. A recipe of the manifest
// that this version cannot read is not compared.
std::vector<Changed> changes_since(const Manifest& manifest, const Recipe& recipe,
                                   const MadeWith& now);

// Reads the value of --allow-changed, a list of model, tokenizer and data. Error{usage} for others.
std::vector<Changed::Kind> parse_allowed(const std::string& list);
bool allows(const std::string& list, Changed::Kind kind);

// Throws when there is a change that is neither harmless nor allowed: Error{usage} for the model,
// Error{data} for tokenizer and data, with all of them, what was and what is. `where`: the
// checkpoint's directory.
void refuse_changes(const std::vector<Changed>& changes, const std::vector<Changed::Kind>& allowed,
                    const std::string& where);

// Throws Error{usage} for another optimizer, from whose state a run cannot go on, whatever is
// allowed. Only a resume reads that state.
void refuse_other_optimizer(const std::vector<Changed>& changes, const std::string& where);

// Tells all of them in one line, "optimizer.lr 0.001 -> 0.002, ..."; empty when there is none.
std::string in_one_line(const std::vector<Changed>& changes);

}  // namespace tessera
