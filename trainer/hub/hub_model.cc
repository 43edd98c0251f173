// SPDX-License-Identifier: Apache-2.0
#include "trainer/hub/hub_model.h"

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "checkpoint/json.h"
#include "kernels/base/half.h"
#include "kernels/copy.h"
#include "kernels/transfer.h"
#include "trainer/hub/config.h"
#include "trainer/model/build.h"
#include "trainer/model/routing.h"
#include "trainer/model_state.h"

namespace tessera {
namespace {

constexpr int64_t kScaleBlock = 128;  // rows and columns that share an FP8 scale
const std::string kScaleSuffix = "_scale_inv";

std::string read_text(Storage& storage, const std::string& path) {
  const auto file = storage.open(path);
  std::string text(static_cast<size_t>(file->size()), '\0');
  file->read(0, text.data(), file->size());
  return text;
}

// "[7, 40]"
std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : ", ") + std::to_string(extent);
  return "[" + text + "]";
}

// What files may hold beside the parameters: transformers and others write these.
bool is_copy(const std::string& name) {
  return name.ends_with("rotary_emb.inv_freq") ||
         (name.starts_with("model.layers.") &&
          (name.ends_with(".embed_tokens.weight") || name.ends_with(".shared_head.head.weight")));
}

using NamedShape = std::pair<std::string, std::vector<int64_t>>;

// The layers of the whole model declare them; nothing is allocated.
std::vector<NamedShape> declared_parameters(const ModelOptions& model) {
  constexpr int64_t kNoPositions = 1;
  const Communicators alone;
  Stream stream{Device{}};
  ParameterStore store;
  build_stage({stream, store, alone, DType::f32}, {.model = model, .positions = kNoPositions});
  std::vector<NamedShape> all;
  for (const Parameter& parameter : store.all())
    all.emplace_back(parameter.name, parameter.shard.global_shape);
  if (!model.has_experts()) return all;
  State biases;
  add_biases(Routing(stream, model, kNoPositions), model, true, biases);
  for (const StateEntry& bias : biases.entries)
    all.emplace_back(bias.name, bias.shard.global_shape);
  return all;
}

}  // namespace

bool is_hub_model(Storage& storage, const std::string& path) {
  return storage.exists(path + "/config.json");
}

HubModel HubModel::open(Storage& storage, const std::string& directory) {
  HubModel hub;
  hub.directory_ = directory;
  const std::string config = directory + "/config.json";
  hub.model_ = model_of_config(read_text(storage, config), config);
  std::set<std::string> names;
  const std::string index = directory + "/model.safetensors.index.json";
  std::map<std::string, std::string> promised;
  if (storage.exists(index)) {
    const nlohmann::json json = parse_json(read_text(storage, index), index);
    const nlohmann::json& map = member(json, "weight_map", index);
    check(map.is_object(), ErrorKind::checkpoint, index + ": weight_map is no object");
    for (const auto& [tensor, file] : map.items()) {
      check(file.is_string() && file.get<std::string>().find('/') == std::string::npos,
            ErrorKind::checkpoint, index + ": no file name for " + tensor);
      promised[tensor] = file.get<std::string>();
      names.insert(promised[tensor]);
    }
  } else {
    names.insert("model.safetensors");
  }
  for (const std::string& name : names) {
    hub.files_.push_back(SafetensorsFile::open(storage, directory + "/" + name));
    for (const auto& [tensor, entry] : hub.files_.back().entries())
      check(hub.file_of_tensor_.emplace(tensor, hub.files_.size() - 1).second,
            ErrorKind::checkpoint, directory + ": " + tensor + " is in two files");
  }
  for (const auto& [tensor, file] : promised) {
    const auto found = hub.file_of_tensor_.find(tensor);
    check(found != hub.file_of_tensor_.end() &&
              hub.files_[found->second].path() == directory + "/" + file,
          ErrorKind::checkpoint, index + ": " + file + " does not hold " + tensor);
  }
  return hub;
}

SafetensorsFile& HubModel::file_of(const std::string& name) {
  const auto found = file_of_tensor_.find(name);
  check(found != file_of_tensor_.end(), ErrorKind::usage,
        directory_ + " lacks " + name + ", which its config.json asks for");
  return files_[found->second];
}

const SafetensorsFile::Entry& HubModel::entry(const std::string& name) {
  return file_of(name).entries().at(name);
}

Tensor HubModel::read(const std::string& name, const Box& box) {
  const SafetensorsFile::Entry& stored = entry(name);
  check(stored.dtype && is_floating(*stored.dtype), ErrorKind::usage,
        directory_ + ": " + name + " has the type " + stored.type + ", which holds no weights");
  const int64_t columns = box.extent.empty() ? 1 : box.extent.back();
  const int64_t rows = columns == 0 ? 0 : box.size() / columns;
  const Tensor raw(Device{}, *stored.dtype, {rows, columns}, MemoryClass::other);
  file_of(name).read(name, box, raw);
  const Tensor values(Device{}, DType::f32, {rows, columns}, MemoryClass::other);
  if (stored.dtype == DType::f8_e4m3) {
    for (int64_t i = 0; i < raw.size(); ++i) values.as<float>()[i] = to_float(raw.as<f8_e4m3>()[i]);
    multiply_scales(name, box, values);
  } else {
    Stream stream{Device{}};
    cast(stream, raw, values);
  }
  return values;
}

// values (rows, columns) of the box: times the scale of the block of 128 x 128 each one is in.
void HubModel::multiply_scales(const std::string& name, const Box& box, const Tensor& values) {
  const std::vector<int64_t>& shape = entry(name).shape;
  const SafetensorsFile::Entry& scales = entry(name + kScaleSuffix);
  const auto blocks = [](int64_t extent) { return (extent + kScaleBlock - 1) / kScaleBlock; };
  check(shape.size() == 2 && scales.dtype == DType::f32 &&
            scales.shape == std::vector<int64_t>{blocks(shape[0]), blocks(shape[1])},
        ErrorKind::usage,
        directory_ + ": " + name + kScaleSuffix + " does not scale blocks of 128 x 128");
  const Tensor factors(Device{}, DType::f32, {scales.shape[0], scales.shape[1]},
                       MemoryClass::other);
  file_of(name + kScaleSuffix)
      .read(name + kScaleSuffix, {.offset = {0, 0}, .extent = scales.shape}, factors);
  for (int64_t i = 0; i < values.rows(); ++i)
    for (int64_t j = 0; j < values.columns(); ++j)
      values.row<float>(i)[j] *=
          factors.row<float>((box.offset[0] + i) / kScaleBlock)[(box.offset[1] + j) / kScaleBlock];
}

void HubModel::check_shape(const std::string& name, const std::vector<int64_t>& shape) {
  check(entry(name).shape == shape, ErrorKind::usage,
        directory_ + ": " + name + " has the shape " + shape_text(entry(name).shape) +
            ", config.json asks for " + shape_text(shape));
}

void HubModel::load(const State& weights) {
  Stream host{Device{}};
  for (const StateEntry& wanted : weights.entries) {
    if (wanted.role != "param") continue;
    check_shape(wanted.name, wanted.shard.global_shape);
    if (wanted.shard.box.empty()) continue;
    Stream stream(wanted.tensor.device());
    write_from_host(stream, wanted.tensor.flat(), [&](const Tensor& out) {
      cast(host, read(wanted.name, wanted.shard.box).flat(), out);
    });
  }
}

std::vector<NamedShape> HubModel::parameters() {
  std::vector<NamedShape> all;
  std::set<std::string> known;
  for (const auto& [name, shape] : declared_parameters(model_)) {
    check_shape(name, shape);
    all.emplace_back(name, shape);
    known.insert(name);
  }
  for (const auto& [name, file] : file_of_tensor_) {
    const bool scale = name.ends_with(kScaleSuffix) &&
                       known.contains(name.substr(0, name.size() - kScaleSuffix.size()));
    const bool tied = model_.tie_word_embeddings && name == "lm_head.weight";
    check(known.contains(name) || scale || tied || is_copy(name), ErrorKind::usage,
          files_[file].path() + " holds " + name + ", which its config.json does not account for");
  }
  return all;
}

}  // namespace tessera
