// SPDX-License-Identifier: Apache-2.0
#include "launch/run/made_with.h"

#include <algorithm>
#include <sstream>

#include "checkpoint/made_with.h"
#include "data/identity.h"
#include "kernels/base/check.h"
#include "kernels/base/log.h"
#include "kernels/base/warning.h"
#include "launch/build_id.h"
#include "launch/job/in_world.h"
#include "launch/recipe/changes.h"
#include "launch/recipe/reader.h"
#include "launch/run/scalar_lines.h"

namespace tessera {
namespace {

using Kind = Changed::Kind;

// These are the words of the command line, in the order in which changes are told.
constexpr std::pair<const char*, Kind> kKinds[] = {
    {"model", Kind::model}, {"tokenizer", Kind::tokenizer}, {"data", Kind::data}};

std::string key(const char* name) {
  return std::string(kMadeWith) + name;
}

std::string joined(const std::vector<std::string>& parts, const char* separator) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : separator) + part;
  return text;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

std::string brief_identities(const std::vector<std::string>& identities) {
  std::vector<std::string> brief;
  for (const std::string& identity : identities) brief.push_back(brief_identity(identity));
  return joined(brief, " + ");
}

bool all_may_be_equal(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return may_be_equal(x, y); });
}

std::optional<Recipe> recipe_of(const Manifest& manifest) {
  try {
    return parse_recipe(manifest.recipe, "manifest.json (recipe)", {}, 0).recipe;
  } catch (const RecipeFailure&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::string brief_hash(const std::string& hash) {
  return hash.substr(0, std::string_view("sha256:0123456789abcdef").size());
}

MadeWith made_with(const Recipe& recipe, const DataSummary& data) {
  return {data.tokenizer, data.train, data.validation, recipe_hash(recipe), program_identity()};
}

std::map<std::string, std::string> scalars_of(const MadeWith& made) {
  std::map<std::string, std::string> scalars;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) scalars[key(name)] = value;
  };
  add("tokenizer", made.tokenizer);
  add("train", joined(made.train, ","));
  add("validation", made.validation);
  add("recipe", made.recipe);
  add("program", made.program);
  return scalars;
}

std::optional<MadeWith> made_with(const std::map<std::string, std::string>& scalars) {
  const auto value = [&](const char* name) {
    const auto found = scalars.find(key(name));
    return found == scalars.end() ? std::string() : found->second;
  };
  const bool tells = std::any_of(scalars.begin(), scalars.end(), [](const auto& scalar) {
    return scalar.first.starts_with(kMadeWith);
  });
  if (!tells) return std::nullopt;
  return MadeWith{value("tokenizer"), split(value("train"), ','), value("validation"),
                  value("recipe"), value("program")};
}

void require_equal_files(const Recipe& recipe, const std::vector<MadeWith>& of_ranks) {
  const std::vector<std::string> train = training_files(recipe.data);
  const auto refuse = [](size_t rank, const std::string& file, const std::string& there,
                         const std::string& first) {
    fail(ErrorKind::data, "rank " + std::to_string(rank) + " reads another " + file +
                              " than rank 0: " + there + ", not " + first +
                              ". Every node must see the same files under these names.");
  };
  const MadeWith& first = of_ranks.front();
  for (size_t rank = 1; rank < of_ranks.size(); ++rank) {
    const MadeWith& other = of_ranks[rank];
    if (other.tokenizer != first.tokenizer)
      refuse(rank, "tokenizer" + (recipe.data.tokenizer.empty() ? "" : " " + recipe.data.tokenizer),
             brief_hash(other.tokenizer), brief_hash(first.tokenizer));
    for (size_t i = 0; i < std::min(first.train.size(), other.train.size()); ++i)
      if (other.train[i] != first.train[i])
        refuse(rank, "token file " + (i < train.size() ? train[i] : "") + ".bin",
               brief_identity(other.train[i]), brief_identity(first.train[i]));
    if (other.validation != first.validation)
      refuse(rank, "token file " + recipe.data.validation + ".bin",
             brief_identity(other.validation), brief_identity(first.validation));
  }
}

MadeWith agree_on(World& world, const Recipe& recipe, const MadeWith& mine) {
  std::vector<MadeWith> of_ranks;
  for (const std::string& text : world.all().all_gather(to_lines(scalars_of(mine)), "made with"))
    of_ranks.push_back(made_with(from_lines(text)).value());
  in_agreement(world, "made with", [&] {
    if (world.rank() == 0) require_equal_files(recipe, of_ranks);
  });
  const MadeWith& first = of_ranks.front();
  for (size_t rank = 1; world.rank() == 0 && rank < of_ranks.size(); ++rank) {
    if (of_ranks[rank].program == first.program) continue;
    log::warn(coded(Warning::other_program,
                    "rank " + std::to_string(rank) + " runs " + of_ranks[rank].program +
                        ", rank 0 " + first.program + ": results may differ between them"));
    break;
  }
  return first;
}

std::vector<Changed> changes_since(const Manifest& manifest, const Recipe& recipe,
                                   const MadeWith& now) {
  const std::optional<MadeWith> told = made_with(manifest.scalars);
  const MadeWith before = told.value_or(MadeWith{});
  std::vector<Changed> changes;
  if (!before.tokenizer.empty() && !now.tokenizer.empty() && before.tokenizer != now.tokenizer)
    changes.push_back({Kind::tokenizer, "the tokenizer", brief_hash(before.tokenizer),
                       brief_hash(now.tokenizer)});
  if (!before.train.empty() && !now.train.empty() && !all_may_be_equal(before.train, now.train))
    changes.push_back({Kind::data, "the training data", brief_identities(before.train),
                       brief_identities(now.train)});
  if (!before.validation.empty() && !now.validation.empty() &&
      !may_be_equal(before.validation, now.validation))
    changes.push_back({Kind::harmless, "the validation data", brief_identity(before.validation),
                       brief_identity(now.validation)});
  if (const std::optional<Recipe> then = recipe_of(manifest))
    for (const RecipeChange& change : recipe_changes(*then, recipe))
      changes.push_back({change.computes_other && told ? Kind::model : Kind::harmless, change.key,
                         change.before, change.now});
  if (!before.program.empty() && !now.program.empty() && before.program != now.program)
    changes.push_back({Kind::harmless, "the program", before.program, now.program});
  return changes;
}

std::vector<Kind> parse_allowed(const std::string& list) {
  std::vector<Kind> kinds;
  for (const std::string& word : split(list, ',')) {
    const auto found = std::find_if(std::begin(kKinds), std::end(kKinds),
                                    [&](const auto& kind) { return word == kind.first; });
    check(found != std::end(kKinds), ErrorKind::usage,
          "--allow-changed wants a list of model, tokenizer and data, got '" + list + "'");
    kinds.push_back(found->second);
  }
  return kinds;
}

bool allows(const std::string& list, Kind kind) {
  const std::vector<Kind> kinds = parse_allowed(list);
  return std::count(kinds.begin(), kinds.end(), kind) > 0;
}

void refuse_changes(const std::vector<Changed>& changes, const std::vector<Kind>& allowed,
                    const std::string& where) {
  std::vector<std::string> sentences, kinds;
  bool model = false;
  for (const auto& [name, kind] : kKinds) {
    if (std::count(allowed.begin(), allowed.end(), kind) > 0) continue;
    for (const Changed& change : changes) {
      if (change.kind != kind) continue;
      sentences.push_back(change.what + " was " + change.before + " and is " + change.now);
      if (kinds.empty() || kinds.back() != name) kinds.emplace_back(name);
      model |= kind == Kind::model;
    }
  }
  if (sentences.empty()) return;
  fail(model ? ErrorKind::usage : ErrorKind::data,
       where + " was made with something else than is here now: " + joined(sentences, "; ") +
           ". Put back what it was made with, or go on all the same with --allow-changed " +
           joined(kinds, ","));
}

void refuse_other_optimizer(const std::vector<Changed>& changes, const std::string& where) {
  for (const Changed& change : changes)
    check(change.what != "optimizer.name", ErrorKind::usage,
          where + " holds the state of the optimizer " + change.before + ", from which " +
              change.now + " cannot go on. Put optimizer.name back, or start " + change.now +
              " from the weights alone with --init-from " + where);
}

std::string in_one_line(const std::vector<Changed>& changes) {
  std::vector<std::string> parts;
  for (const Changed& change : changes)
    parts.push_back(change.what + " " + change.before + " -> " + change.now);
  return joined(parts, ", ");
}

}  // namespace tessera
