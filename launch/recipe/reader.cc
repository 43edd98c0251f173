// SPDX-License-Identifier: Apache-2.0
#include "launch/recipe/reader.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "launch/recipe/fields.h"
#include "launch/recipe/scalar.h"
#include "launch/recipe/yaml.h"

namespace tessera {
namespace {

constexpr std::string_view kCommandLine = "command line";

const RecipeField* field_named(const std::string& key) {
  for (const RecipeField& field : recipe_fields())
    if (field.key == key) return &field;
  return nullptr;
}

bool is_section(const std::string& prefix) {
  return std::any_of(recipe_fields().begin(), recipe_fields().end(), [&](const RecipeField& field) {
    return field.key.rfind(prefix + ".", 0) == 0;
  });
}

// The keys directly below a section ("" = top level).
std::vector<std::string> keys_below(const std::string& section) {
  const std::string prefix = section.empty() ? "" : section + ".";
  std::vector<std::string> keys;
  for (const RecipeField& field : recipe_fields()) {
    if (field.key.rfind(prefix, 0) != 0) continue;
    const std::string key =
        field.key.substr(prefix.size(), field.key.find('.', prefix.size()) - prefix.size());
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  return keys;
}

std::string last_part(const std::string& key) {
  return key.substr(key.rfind('.') + 1);
}

class Reader {
 public:
  Reader(LoadedRecipe& loaded, std::vector<RecipeError>& errors)
      : loaded_(loaded), errors_(errors) {}

  void read_map(const RecipeNode& map, const std::string& section) {
    for (const RecipeNode::Entry& entry : map.entries) {
      const std::string key = section.empty() ? entry.key : section + "." + entry.key;
      read(key, entry.value, entry.key_place, section, entry.key);
    }
  }

  void read(const std::string& key, const RecipeNode& value, const TextPlace& place,
            const std::string& section, const std::string& word) {
    if (const RecipeField* field = field_named(key)) return read_value(*field, value, place);
    if (is_section(key)) {
      if (value.kind == RecipeNode::Kind::map) return read_map(value, key);
      if (value.kind == RecipeNode::Kind::scalar && !value.quoted && value.text == "null")
        return forget(key, place);
      errors_.push_back({place, static_cast<int>(word.size()), "`" + key + "` is a section",
                         "keys here: " + list(keys_below(key)), 2});
      return;
    }
    unknown(key, place, section, word);
  }

 private:
  void read_value(const RecipeField& field, const RecipeNode& value, const TextPlace& place) {
    try {
      field.read(loaded_.recipe, value);
      loaded_.origin[field.key] = place;
      if (place.file == kCommandLine) replace_rival(field);
      if (field.choices.empty()) return;
      if (std::find(field.choices.begin(), field.choices.end(), value.text) != field.choices.end())
        return;
      errors_.push_back(
          {value.place, width(value),
           field.key + " must be " + list(field.choices, " | ") + ", got `" + value.text + "`",
           nearest(value.text, field.choices), 2});
    } catch (const ScalarError& error) {
      errors_.push_back({value.place, width(value), field.key + " " + error.what(), "", 2});
    } catch (const RuleError& error) {
      errors_.push_back({place, static_cast<int>(last_part(field.key).size()),
                         field.key + ": " + error.what(), "", 2});
    }
  }

  // `run.steps=10` of a recipe that says run.tokens.
  void replace_rival(const RecipeField& field) {
    const Recipe defaults;
    const RecipeField* rival = field.rival.empty() ? nullptr : field_named(field.rival);
    if (!rival || field.write(loaded_.recipe) == field.write(defaults)) return;
    rival->read(loaded_.recipe, parse_yaml_value(rival->write(defaults), errors_));
    loaded_.origin.erase(rival->key);
  }

  // `rope_scaling: null`: all keys of the section have their defaults.
  void forget(const std::string& section, const TextPlace& place) {
    const Recipe defaults;
    for (const RecipeField& field : recipe_fields()) {
      if (field.key.rfind(section + ".", 0) != 0) continue;
      field.read(loaded_.recipe, parse_yaml_value(field.write(defaults), errors_));
      loaded_.origin[field.key] = place;
    }
  }

  void unknown(const std::string& key, const TextPlace& place, const std::string& section,
               const std::string& word) {
    const int width = static_cast<int>(word.size());
    for (const ForeignKey& foreign : foreign_keys()) {
      if (foreign.key != key) continue;
      const std::string kind = section.empty() ? "` is not a top-level key; " : "`: ";
      errors_.push_back({place, width, "`" + key + kind + foreign.advice, "", 2});
      return;
    }
    const std::vector<std::string> here = keys_below(section);
    std::string hint = nearest(word, here);
    if (hint.empty()) {
      for (const RecipeField& field : recipe_fields())
        if (last_part(field.key) == word) hint = "it belongs to `" + field.key + "`";
    }
    if (here.size() <= 16) hint += (hint.empty() ? "" : "     ") + ("keys here: " + list(here));
    errors_.push_back({place, width,
                       "unknown key `" + word + "` " +
                           (section.empty() ? "at the top level" : "in `" + section + "`"),
                       hint, 2});
  }

  static int width(const RecipeNode& node) {
    return std::max<int>(1, static_cast<int>(node.text.size()) + (node.quoted ? 2 : 0));
  }
  static std::string list(const std::vector<std::string>& words,
                          const std::string& between = ", ") {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
    return text;
  }
  // "did you mean `x`?" when a word is at most a third of its letters away.
  static std::string nearest(const std::string& word, const std::vector<std::string>& words) {
    std::string best;
    int distance = std::max<int>(2, static_cast<int>(word.size()) / 3) + 1;
    for (const std::string& candidate : words) {
      const int edits = edit_distance(word, candidate);
      if (edits < distance) {
        distance = edits;
        best = candidate;
      }
    }
    return best.empty() ? "" : "did you mean `" + best + "`?";
  }

  LoadedRecipe& loaded_;
  std::vector<RecipeError>& errors_;
};

void read_override(Reader& reader, const std::string& text, std::vector<RecipeError>& errors) {
  const size_t equals = text.find('=');
  const TextPlace place{std::string(kCommandLine), 0, 0};
  if (equals == std::string::npos || equals == 0) {
    errors.push_back({place, 1, "`" + text + "` is not key=value", "e.g. optimizer.lr=1e-3", 2});
    return;
  }
  const std::string key = text.substr(0, equals);
  RecipeNode value = parse_yaml_value(text.substr(equals + 1), errors);
  const size_t dot = key.rfind('.');
  reader.read(key, value, place, dot == std::string::npos ? "" : key.substr(0, dot),
              last_part(key));
}

[[noreturn]] void report(const std::vector<RecipeError>& errors, const LoadedRecipe& loaded) {
  std::string text;
  for (const RecipeError& error : errors)
    text += (text.empty() ? "" : "\n") +
            render(error, error.place.file == loaded.path ? loaded.source : std::string());
  throw RecipeFailure(text, errors.front().exit_code);
}

std::string comment(const std::map<std::string, TextPlace>& origin, const std::string& key) {
  const auto found = origin.find(key);
  if (found == origin.end()) return "default";
  return found->second.line > 0 ? found->second.file + ":" + std::to_string(found->second.line)
                                : found->second.file;
}

}  // namespace

LoadedRecipe parse_recipe(const std::string& text, const std::string& path,
                          const std::vector<std::string>& overrides, int num_ranks) {
  LoadedRecipe loaded;
  loaded.path = path;
  loaded.source = text;
  loaded.num_overrides = static_cast<int>(overrides.size());
  std::vector<RecipeError> errors;
  const RecipeNode root = parse_yaml(text, path, errors);
  Reader reader(loaded, errors);
  if (errors.empty()) reader.read_map(root, "");
  for (const std::string& change : overrides) read_override(reader, change, errors);
  if (errors.empty()) {
    for (const RecipeProblem& problem : validate(loaded.recipe, num_ranks)) {
      const auto found = loaded.origin.find(problem.key);
      const TextPlace place = found == loaded.origin.end() ? TextPlace{path, 0, 0} : found->second;
      errors.push_back({place, static_cast<int>(last_part(problem.key).size()),
                        problem.key + ": " + problem.message, "", exit_code(problem.kind)});
    }
  }
  if (!errors.empty()) report(errors, loaded);
  return loaded;
}

LoadedRecipe load_recipe(const std::string& path, const std::vector<std::string>& overrides,
                         int num_ranks) {
  std::ifstream in(path);
  check(in.good(), ErrorKind::usage,
        "cannot read the recipe " + path + ": no such file, or no permission");
  std::ostringstream text;
  text << in.rdbuf();
  return parse_recipe(text.str(), path, overrides, num_ranks);
}

std::string resolved_yaml(const LoadedRecipe& loaded, const std::vector<std::string>& header) {
  std::string out;
  for (const std::string& line : header) out += "# " + line + "\n";
  std::vector<std::string> open;  // sections we are inside of
  for (const RecipeField& field : recipe_fields()) {
    std::vector<std::string> parts;
    std::istringstream words(field.key);
    for (std::string part; std::getline(words, part, '.');) parts.push_back(part);
    const std::vector<std::string> sections(parts.begin(), parts.end() - 1);
    size_t common = 0;
    while (common < open.size() && common < sections.size() && open[common] == sections[common])
      ++common;
    for (size_t depth = common; depth < sections.size(); ++depth)
      out += std::string(2 * depth, ' ') + sections[depth] + ":\n";
    open = sections;
    std::string line =
        std::string(2 * sections.size(), ' ') + parts.back() + ": " + field.write(loaded.recipe);
    if (line.size() < 48) line.append(48 - line.size(), ' ');
    out += line + "  # " + comment(loaded.origin, field.key) + "\n";
  }
  return out;
}

}  // namespace tessera
