// SPDX-License-Identifier: Apache-2.0
#include "launch/open_checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/retention.h"
#include "kernels/base/log.h"
#include "launch/device_choice.h"
#include "trainer/group_rule.h"

namespace tessera {

std::string resolve_checkpoint(Storage& storage, const std::string& path) {
  check(storage.exists(path), ErrorKind::checkpoint, path + " does not exist");
  std::string plain = path;
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  if (parse_step_name(std::filesystem::path(plain).filename().string())) return plain;
  for (const std::string& root : {plain, plain + "/checkpoints"}) {
    if (!storage.exists(root)) continue;
    const NewestCheckpoint newest = newest_valid(storage, root);
    for (const PassedOver& passed : newest.passed_over) log::warn(passed.reason);
    if (newest.step) return newest.directory;
  }
  fail(ErrorKind::checkpoint, path + " holds no complete checkpoint (step-NNNNNNNN with COMMIT)");
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
  recipe.precision.compute = "f32";
  recipe.run.steps = 1;
  const std::string text = resolved_yaml(loaded, {"from " + directory.string()});
  return parse_recipe(text, directory.string() + "/config.json (as a recipe)", overrides, 0);
}

OpenModel open_model(Storage& storage, const std::string& path,
                     const std::vector<std::string>& overrides) {
  OpenModel open;
  std::optional<HubModel> hub;
  if (is_hub_model(storage, path)) {
    hub = HubModel::open(storage, path);
    open.directory = path;
    open.recipe = recipe_of_hub(*hub, overrides);
  } else {
    open.directory = resolve_checkpoint(storage, path);
    const CheckpointReader reader = CheckpointReader::open(storage, open.directory);
    open.recipe =
        parse_recipe(reader.recipe(), open.directory + "/manifest.json (recipe)", overrides, 0);
    open.step = reader.manifest().step;
    warn_of_group_rule(reader, open.recipe.recipe.model);
  }
  const Recipe& recipe = open.recipe.recipe;
  // What a run trained on says where to look first; what the command line asks for must be.
  const auto asked = [&](const char* key) {
    return std::any_of(overrides.begin(), overrides.end(),
                       [&](const std::string& text) { return text.starts_with(key); });
  };
  const bool reminded = !asked("run.device=") && recipe.run.device == "cuda";
  const Device device = resolve_device(reminded ? "auto" : recipe.run.device, 0);
  const bool may = device.kind == Device::Kind::cuda || asked("precision.tf32=");
  choose_tf32(device, recipe.precision.tf32 && may);
  const int64_t positions =
      std::max(recipe.data.sequence_length, recipe.model.max_position_embeddings);
  open.model = std::make_unique<LanguageModel>(recipe, device, positions);
  State weights = open.model->weights();
  if (hub) {
    hub->parameters();  // all there, none left over
    hub->load(weights);
  } else {
    const auto self = self_communicator("world");
    load_checkpoint(storage, *self, open.directory, weights,
                    {.allow_missing = false,
                     // the layers of multi-token prediction, which no one asks here
                     .allow_unexpected = recipe.model.num_nextn_predict_layers > 0,
                     .roles = {"param"}});
  }
  open.model->publish();
  if (!recipe.data.tokenizer.empty() && std::filesystem::exists(recipe.data.tokenizer))
    open.tokenizer = Tokenizer::load(recipe.data.tokenizer);
  return open;
}

}  // namespace tessera
