// SPDX-License-Identifier: Apache-2.0
// `tessera recipe check|show|list|schema`.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "kernels/base/log.h"
#include "launch/recipe/reader.h"
#include "launch/report/format.h"
#include "launch/verb/common_flags.h"
#include "launch/verb/verbs.h"
#include "launch/version.h"

namespace tessera {
namespace {

struct RecipeCommand {
  std::string path;
  std::vector<std::string> overrides;
  int ranks = 0;
};

int check_recipe(const RecipeCommand& command) {
  const LoadedRecipe loaded = load_recipe(command.path, command.overrides, command.ranks);
  std::printf("%s: recipe %s is valid%s\n", command.path.c_str(), loaded.recipe.name.c_str(),
              command.ranks > 0 ? (" on " + std::to_string(command.ranks) + " ranks").c_str() : "");
  return 0;
}

int show_recipe(const RecipeCommand& command) {
  const LoadedRecipe loaded = load_recipe(command.path, command.overrides, command.ranks);
  std::fputs(resolved_yaml(loaded, {version_string()}).c_str(), stdout);
  return 0;
}

// The recipes beside the program: in the source tree, or where cmake --install put them.
int list_recipes(const RecipeCommand& command) {
  namespace fs = std::filesystem;
  std::vector<fs::path> directories;
  if (!command.path.empty()) {
    directories.emplace_back(command.path);
  } else {
    const fs::path program = fs::read_symlink("/proc/self/exe").parent_path();
    directories = {fs::path("recipes"), program / "../share/tessera/recipes",
                   program / "../../recipes"};
  }
  std::vector<std::vector<std::string>> rows = {{"recipe", "name", "architecture", "file"}};
  for (const fs::path& directory : directories) {
    if (!fs::is_directory(directory)) continue;
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(directory))
      if (entry.path().extension() == ".yaml") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      const LoadedRecipe loaded = load_recipe(file.string(), {}, 0);
      rows.push_back({file.stem().string(), loaded.recipe.name,
                      name_of(loaded.recipe.model.architecture),
                      fs::weakly_canonical(file).string()});
    }
    break;
  }
  check(rows.size() > 1, ErrorKind::usage, "no recipes found; give a directory");
  std::fputs(table(rows).c_str(), stdout);
  return 0;
}

int show_keys() {
  std::fputs(recipe_keys_markdown().c_str(), stdout);
  return 0;
}

int show_schema() {
  std::fputs(recipe_schema().c_str(), stdout);
  return 0;
}

}  // namespace

Verb recipe_verb() {
  const auto c = std::make_shared<RecipeCommand>();
  const std::vector<Flag> of_one = {
      recipe_row(c->path),
      overrides_row(c->overrides),
      {"-n,--ranks", &c->ranks, "check the layout on this many ranks", Whole{1, kMostRanks}}};
  return {.name = "recipe",
          .help = "check and show recipes",
          .verbs = {{.name = "check",
                     .help = "all errors of a recipe at once",
                     .flags = of_one,
                     .run = [c] { return check_recipe(*c); }},
                    {.name = "show",
                     .help = "every key with its value and origin",
                     .flags = of_one,
                     .run = [c] { return show_recipe(*c); }},
                    {.name = "list",
                     .help = "the recipes that come with Tessera",
                     .flags = {{"directory", &c->path, "default: the installed ones"}},
                     .run = [c] { return list_recipes(*c); }},
                    {.name = "keys", .help = "all keys as Markdown tables", .run = show_keys},
                    {.name = "schema", .help = "JSON Schema for editors", .run = show_schema}}};
}

}  // namespace tessera
