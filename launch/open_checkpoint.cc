// SPDX-License-Identifier: Apache-2.0
#include "launch/open_checkpoint.h"

#include <algorithm>
#include <filesystem>

#include "checkpoint/layout.h"
#include "checkpoint/load.h"
#include "checkpoint/retention.h"
#include "kernels/base/log.h"

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

OpenModel open_model(Storage& storage, const std::string& path,
                     const std::vector<std::string>& overrides) {
  OpenModel open;
  open.directory = resolve_checkpoint(storage, path);
  {
    const CheckpointReader reader = CheckpointReader::open(storage, open.directory);
    open.recipe =
        parse_recipe(reader.recipe(), open.directory + "/manifest.json (recipe)", overrides, 0);
    open.step = reader.manifest().step;
  }
  const Recipe& recipe = open.recipe.recipe;
  const Device device{recipe.run.device == "reference" ? Device::Kind::reference
                                                       : Device::Kind::cpu};
  const int64_t positions =
      std::max(recipe.data.sequence_length, recipe.model.max_position_embeddings);
  open.model = std::make_unique<LanguageModel>(recipe, device, positions);
  State weights = open.model->weights();
  const auto self = self_communicator("world");
  load_checkpoint(storage, *self, open.directory, weights,
                  {.allow_missing = false, .allow_unexpected = false, .roles = {"param"}});
  open.model->publish();
  if (!recipe.data.tokenizer.empty() && std::filesystem::exists(recipe.data.tokenizer))
    open.tokenizer = Tokenizer::load(recipe.data.tokenizer);
  return open;
}

}  // namespace tessera
