// SPDX-License-Identifier: Apache-2.0
// `tessera recipe check|show|list|schema`.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "kernels/base/log.h"
#include "launch/format.h"
#include "launch/recipe_reader.h"
#include "launch/verbs.h"

namespace tessera {

int recipe_check_verb(const RecipeCommand& command) {
  const LoadedRecipe loaded = load_recipe(command.path, command.overrides, command.ranks);
  std::printf("%s: recipe %s is valid%s\n", command.path.c_str(), loaded.recipe.name.c_str(),
              command.ranks > 0 ? (" on " + std::to_string(command.ranks) + " ranks").c_str() : "");
  return 0;
}

int recipe_show_verb(const RecipeCommand& command) {
  const LoadedRecipe loaded = load_recipe(command.path, command.overrides, command.ranks);
  std::fputs(resolved_yaml(loaded, {version_string()}).c_str(), stdout);
  return 0;
}

// The recipes beside the program: in the source tree, or where cmake --install put them.
int recipe_list_verb(const RecipeCommand& command) {
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

int recipe_keys_verb() {
  std::fputs(recipe_keys_markdown().c_str(), stdout);
  return 0;
}

int recipe_schema_verb() {
  std::fputs(recipe_schema().c_str(), stdout);
  return 0;
}

}  // namespace tessera
