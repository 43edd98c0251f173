// SPDX-License-Identifier: Apache-2.0
#include "trainer/hub/transfer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "checkpoint/draft.h"
#include "checkpoint/layout.h"
#include "checkpoint/shard_writer.h"
#include "kernels/copy.h"
#include "trainer/hub/config.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

// A tensor of the export: what it is called and which one of the checkpoint it is.
struct Item {
  SafetensorsShape shape;
  const GlobalTensor* from = nullptr;
};

bool is_router_bias(const std::string& name) {
  return name.ends_with(".e_score_correction_bias");
}

// The weights, and the copies of embedding and head that published checkpoints keep in each block
// of multi-token prediction.
std::vector<Item> items_of(const CheckpointReader& from, const ModelOptions& model, DType dtype) {
  std::vector<Item> items;
  const auto add = [&](const std::string& name, const GlobalTensor& tensor) {
    items.push_back(
        {{name, is_router_bias(name) ? DType::f32 : dtype, tensor.global_shape}, &tensor});
  };
  for (const GlobalTensor& tensor : from.tensors())
    if (tensor.role == "param") add(tensor.name, tensor);
  const std::string embedding = "model.embed_tokens.weight";
  const std::string head = model.tie_word_embeddings ? embedding : "lm_head.weight";
  for (int64_t k = 0; k < model.num_nextn_predict_layers; ++k) {
    const std::string block = "model.layers." + std::to_string(model.num_hidden_layers + k) + ".";
    for (const auto& [copy, original] : {std::pair{block + "embed_tokens.weight", embedding},
                                         std::pair{block + "shared_head.head.weight", head}})
      if (const GlobalTensor* tensor = from.find(original, "param")) add(copy, *tensor);
  }
  return items;
}

// Consecutive items of at most max_shard bytes, or one item.
std::vector<std::vector<Item>> shards_of(const std::vector<Item>& items, int64_t max_shard) {
  std::vector<std::vector<Item>> shards(1);
  int64_t bytes = 0;
  for (const Item& item : items) {
    if (!shards.back().empty() && bytes + item.shape.bytes() > max_shard) {
      shards.emplace_back();
      bytes = 0;
    }
    shards.back().push_back(item);
    bytes += item.shape.bytes();
  }
  return shards;
}

// "model-00002-of-00007.safetensors"
std::string file_name(size_t shard, size_t of) {
  if (of == 1) return "model.safetensors";
  constexpr size_t kDigits = 5;
  const auto padded = [](size_t number) {
    const std::string digits = std::to_string(number);
    return std::string(digits.size() < kDigits ? kDigits - digits.size() : 0, '0') + digits;
  };
  return "model-" + padded(shard + 1) + "-of-" + padded(of) + ".safetensors";
}

void write_text(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  check(out.good(), ErrorKind::storage, "cannot write " + path);
}

void write_shard(CheckpointReader& from, const std::vector<Item>& items, const std::string& path,
                 const std::function<void(int64_t)>& written) {
  std::vector<SafetensorsShape> shapes;
  for (const Item& item : items) shapes.push_back(item.shape);
  std::ofstream out(path, std::ios::binary);
  out << safetensors_header(shapes);
  Stream stream{Device{}};
  for (const Item& item : items) {
    const Tensor stored = from.read_whole(*item.from);
    const Tensor values(Device{}, item.shape.dtype, {1, stored.size()}, MemoryClass::other);
    cast(stream, stored.flat(), values);
    out.write(static_cast<const char*>(values.data()), values.bytes());
    written(item.shape.bytes());
  }
  out.close();
  check(out.good(), ErrorKind::storage, "cannot write " + path);
}

std::string index_json(const std::vector<std::vector<Item>>& shards, int64_t bytes) {
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  for (size_t shard = 0; shard < shards.size(); ++shard)
    for (const Item& item : shards[shard]) map[item.shape.name] = file_name(shard, shards.size());
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", bytes}}}, {"weight_map", map}};
  return index.dump(2) + "\n";
}

}  // namespace

HubReport export_to_hub(CheckpointReader& from, const ModelOptions& model, const HubExport& options,
                        const std::function<void(int64_t)>& progress) {
  check(!fs::exists(options.directory), ErrorKind::usage,
        options.directory + " exists already; export into a new directory");
  const std::string draft = options.directory + ".tmp";
  const auto shards = shards_of(items_of(from, model, options.dtype), options.max_shard);
  HubReport report{.files = static_cast<int>(shards.size())};
  try {
    fs::remove_all(draft);
    fs::create_directories(draft);
    for (size_t i = 0; i < shards.size(); ++i)
      write_shard(from, shards[i], draft + "/" + file_name(i, shards.size()), [&](int64_t bytes) {
        ++report.tensors;
        progress(report.bytes += bytes);
      });
    if (shards.size() > 1)
      write_text(draft + "/model.safetensors.index.json", index_json(shards, report.bytes));
    write_text(draft + "/config.json", config_of_model(model, options.dtype));
    write_text(draft + "/generation_config.json",
               "{\n  \"_from_model_config\": true,\n  \"do_sample\": true,\n  \"temperature\": "
               "0.8,\n  \"top_p\": 0.95\n}\n");
    if (!options.tokenizer.empty()) fs::copy_file(options.tokenizer, draft + "/tokenizer.json");
    fs::rename(draft, options.directory);
  } catch (const fs::filesystem_error& error) {
    std::error_code ignored;
    fs::remove_all(draft, ignored);
    fail(ErrorKind::storage, error.what());
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(draft, ignored);
    throw;
  }
  return report;
}

namespace {

constexpr int64_t kImportShard = int64_t{1} << 30;

// A parameter's place in memory, to be filled: f32, whole.
StateEntry whole_entry(const std::string& name, const std::vector<int64_t>& shape) {
  const ShardSpec shard = ShardSpec::whole(shape);
  const int64_t rows = shape.size() < 2 ? 1 : shape[0];
  return {.name = name,
          .role = "param",
          .tensor = Tensor(Device{}, DType::f32, {rows, shape.back()}, MemoryClass::weights),
          .shard = shard};
}

}  // namespace

SaveReport import_from_hub(Storage& storage, HubModel& from, const std::string& root,
                           const std::string& recipe,
                           const std::function<void(int64_t, int64_t)>& progress,
                           const Lease* lease,
                           const std::map<std::string, std::string>& made_with) {
  const SaveInfo info{"import", 0, "imported", recipe};
  const int64_t generation = lease ? lease->generation() : 0;
  if (!storage.exists(root)) fs::create_directories(root);
  Draft draft(storage, root, info.step, generation, temporary_name(info.step, generation),
              [&] { lease ? lease->check_held() : void(); });
  check(!storage.exists(draft.final_path()), ErrorKind::usage,
        draft.final_path() + " exists already; import into another directory");
  const auto parameters = from.parameters();
  const auto count = static_cast<int64_t>(parameters.size());
  Manifest manifest{.version = kFormatVersion,
                    .run_id = info.run_id,
                    .step = info.step,
                    .generation = generation,
                    .base = info.step,
                    .layout = info.layout,
                    .recipe = recipe,
                    .scalars = {{"step", "0"}, {"updates", "0"}, {"tokens", "0"}},
                    .writers = {}};
  manifest.scalars.insert(made_with.begin(), made_with.end());
  try {
    draft.make();
    for (int64_t next = 0, writer = 0; next < count; ++writer) {
      State state;
      for (int64_t bytes = 0; next < count && (bytes == 0 || bytes < kImportShard); ++next) {
        const auto& [name, shape] = parameters[static_cast<size_t>(next)];
        state.entries.push_back(whole_entry(name, shape));
        bytes += state.entries.back().tensor.bytes();
      }
      from.load(state);
      ShardIndex plan = plan_index(state, static_cast<int>(writer), true);
      manifest.writers.push_back(
          ShardWriter(storage, draft.path(), info, state, std::move(plan)).write());
      progress(next, count);
    }
    draft.commit(manifest);
  } catch (...) {
    draft.discard();
    throw;
  }
  return {.bytes = manifest.bytes(), .seconds = 0, .directory = draft.final_path()};
}

}  // namespace tessera
