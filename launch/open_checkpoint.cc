// SPDX-License-Identifier: Apache-2.0
#include "launch/open_checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/patience.h"
#include "checkpoint/retention.h"
#include "kernels/base/log.h"
#include "kernels/base/warning.h"
#include "launch/job/device_choice.h"
#include "launch/run/made_with.h"
#include "trainer/group_rule.h"

namespace tessera {

namespace {

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

bool names_a_step(const std::string& path) {
  return parse_step_name(std::filesystem::path(path).filename().string()).has_value();
}

// before: only steps below this one.
std::string newest_below(Storage& storage, const std::string& path, int64_t before) {
  for (const std::string& root : {path, path + "/checkpoints"}) {
    if (!storage.exists(root)) continue;
    const NewestCheckpoint newest = newest_valid(storage, root, {.before = before});
    for (const PassedOver& passed : newest.passed_over) log::warn(passed.reason);
    if (newest.step) return newest.directory;
  }
  return "";
}

}  // namespace

std::string resolve_checkpoint(Storage& storage, const std::string& path) {
  check(storage.exists(path), ErrorKind::checkpoint, path + " does not exist");
  const std::string plain = without_slash(path);
  if (names_a_step(plain)) return plain;
  const std::string newest = newest_below(storage, plain, SearchOptions().before);
  check(!newest.empty(), ErrorKind::checkpoint,
        path + " holds no complete checkpoint (step-NNNNNNNN with COMMIT)");
  return newest;
}

void warn_of_group_rule(const CheckpointReader& checkpoint, const ModelOptions& model) {
  const std::string warning = group_rule_warning(model, checkpoint.manifest());
  if (!warning.empty()) log::warn(warning);
}

LoadedRecipe recipe_of_hub(const HubModel& hub, const std::vector<std::string>& overrides) {
  constexpr int64_t kLongestSample = 4096;
  namespace fs = std::filesystem;
  const fs::path directory = fs::path(hub.directory() + "/").parent_path();
  LoadedRecipe loaded;
  Recipe& recipe = loaded.recipe;
  recipe.name = directory.filename().string();
  recipe.model = hub.model();
  recipe.data.train = directory.string();
  if (fs::exists(directory / "tokenizer.json"))
    recipe.data.tokenizer = (directory / "tokenizer.json").string();
  if (recipe.model.max_position_embeddings > 0)
    recipe.data.sequence_length = std::min(kLongestSample, recipe.model.max_position_embeddings);
  recipe.precision.compute = ComputeType::f32;
  recipe.run.steps = 1;
  const std::string text = resolved_yaml(loaded, {"from " + directory.string()});
  return parse_recipe(text, directory.string() + "/config.json (as a recipe)", overrides, 0);
}

void check_tokenizer(const CheckpointReader& checkpoint, const Recipe& recipe,
                     const std::string& allow_changed) {
  const std::string& path = recipe.data.tokenizer;
  const std::optional<MadeWith> made = made_with(checkpoint.scalars());
  if (!made || made->tokenizer.empty() || path.empty() || !std::filesystem::exists(path)) return;
  MadeWith now;
  now.tokenizer = Tokenizer::load(path).hash();
  refuse_changes(changes_since(checkpoint.manifest(), recipe, now), parse_allowed(allow_changed),
                 checkpoint.directory());
}

namespace {

// The recipe of a run only tells where to look first, but a device that the command line asks for
// must be there.
Device device_for(const Recipe& recipe, const std::vector<std::string>& overrides) {
  const auto asked = [&](const char* key) {
    return std::any_of(overrides.begin(), overrides.end(),
                       [&](const std::string& text) { return text.starts_with(key); });
  };
  const bool reminded = !asked("run.device=") && recipe.run.device == "cuda";
  const Device device = resolve_device(reminded ? "auto" : recipe.run.device, 0);
  const bool may = device.kind == Device::Kind::cuda || asked("precision.tf32=");
  choose_tf32(device, recipe.precision.tf32 && may);
  return device;
}

void build(OpenModel& open, const OpenOptions& options) {
  const Recipe& recipe = open.recipe.recipe;
  open.model = std::make_unique<LanguageModel>(
      recipe, device_for(recipe, options.overrides),
      std::max(recipe.data.sequence_length, recipe.model.max_position_embeddings));
}

void load_tokenizer(OpenModel& open) {
  const std::string& path = open.recipe.recipe.data.tokenizer;
  if (path.empty() || !std::filesystem::exists(path)) return;
  open.tokenizer = Tokenizer::load(path);
  open.tokenizer_hash = open.tokenizer->hash();
}

OpenModel open_hub_model(Storage& storage, const std::string& path, const OpenOptions& options) {
  OpenModel open;
  HubModel hub = HubModel::open(storage, path);
  open.directory = path;
  open.recipe = recipe_of_hub(hub, options.overrides);
  load_tokenizer(open);
  build(open, options);
  State weights = open.model->weights();
  hub.parameters();  // all there, none left over
  hub.load(weights);
  open.model->publish();
  return open;
}

OpenModel open_step(Storage& storage, const std::string& directory, const OpenOptions& options) {
  OpenModel open;
  open.directory = directory;
  const CheckpointReader reader = CheckpointReader::open(storage, directory);
  open.recipe =
      parse_recipe(reader.recipe(), directory + "/manifest.json (recipe)", options.overrides, 0);
  open.step = reader.manifest().step;
  const Recipe& recipe = open.recipe.recipe;
  warn_of_group_rule(reader, recipe.model);
  load_tokenizer(open);
  const std::optional<MadeWith> made = made_with(reader.scalars());
  MadeWith now;
  if (options.reads_text) now.tokenizer = open.tokenizer_hash;
  refuse_changes(changes_since(reader.manifest(), recipe, now),
                 parse_allowed(options.allow_changed), directory);
  if (made && !made->tokenizer.empty()) open.tokenizer_hash = made->tokenizer;
  build(open, options);
  State weights = open.model->weights();
  const auto self = self_communicator("world");
  patiently([&] {
    return load_checkpoint(storage, *self, directory, weights,
                           {.allow_missing = false,
                            // the layers of multi-token prediction, which no one asks here
                            .allow_unexpected = recipe.model.num_nextn_predict_layers > 0,
                            .roles = {"param"}});
  });
  open.model->publish();
  return open;
}

}  // namespace

OpenModel open_model(Storage& storage, const std::string& path, const OpenOptions& options) {
  if (is_hub_model(storage, path)) return open_hub_model(storage, path, options);
  std::string directory = resolve_checkpoint(storage, path);
  const std::string plain = without_slash(path);
  for (;;) {
    try {
      return open_step(storage, directory, options);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::checkpoint || names_a_step(plain)) throw;
      const int64_t step =
          parse_step_name(std::filesystem::path(directory).filename().string()).value();
      const std::string older = newest_below(storage, plain, step);
      if (older.empty()) throw;
      log::warn(code(Warning::damaged_passed_over), error.what(), "Reading " + older + ".");
      directory = older;
    }
  }
}

}  // namespace tessera
