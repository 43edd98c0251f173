// SPDX-License-Identifier: Apache-2.0
// A model as Hugging Face keeps it: a directory with config.json, tokenizer.json and sharded
// safetensors, under the names that Tessera's parameters have anyway (docs/deepseek.md). Tensors go
// in and out one at a time, whatever the size of the model. Not thread-safe.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/lease.h"
#include "checkpoint/reader.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/state.h"
#include "checkpoint/writer.h"
#include "trainer/recipe.h"

namespace tessera {

// The model that a config.json describes: LlamaForCausalLM, Deepseek(V2|V3)ForCausalLM. A value
// that would change what is computed and that Tessera cannot honour is Error{checkpoint} naming
// `where` and the key.
ModelOptions model_of_config(const std::string& config, const std::string& where);
// The config.json of a model whose weights are stored in `dtype`.
std::string config_of_model(const ModelOptions& model, DType dtype);

class HubModel {
 public:
  // Checks config, index and the header of every file. Error{checkpoint} names what is wrong.
  static HubModel open(Storage& storage, const std::string& directory);

  const std::string& directory() const { return directory_; }
  const ModelOptions& model() const { return model_; }

  // Fills the entries of role "param" (f32 or f64) with their boxes, converted; tensors in FP8 with
  // block scales (weight_scale_inv, DeepSeek-V3 README_WEIGHTS) come out multiplied. Error{usage}
  // when a tensor is missing or has another shape.
  void load(const State& weights);
  // The model's parameters with their shapes, as config.json describes them, in the order of the
  // layers. Error{usage} when a file lacks one, has it in another shape, or holds a tensor that is
  // none of them (copies of embedding and head in multi-token prediction, a tied head and rotary
  // tables are passed over).
  std::vector<std::pair<std::string, std::vector<int64_t>>> parameters();

 private:
  SafetensorsFile& file_of(const std::string& name);
  const SafetensorsFile::Entry& entry(const std::string& name);
  void check_shape(const std::string& name, const std::vector<int64_t>& shape);
  Tensor read(const std::string& name, const Box& box);  // f32 (rows, columns)
  void multiply_scales(const std::string& name, const Box& box, const Tensor& values);

  std::string directory_;
  ModelOptions model_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> file_of_tensor_;
};

// Whether `path` is such a directory.
bool is_hub_model(Storage& storage, const std::string& path);

struct HubExport {
  std::string directory;              // made; must not exist
  DType dtype = DType::bf16;          // of matrices and norms; biases of routers stay f32
  int64_t max_shard = 5'000'000'000;  // bytes of one file, unless one tensor has more
  std::string tokenizer;              // tokenizer.json to copy; empty: none
};
struct HubReport {
  int64_t tensors = 0;
  int64_t bytes = 0;
  int files = 0;
};
// Writes the weights of a checkpoint. Appears at one instant, complete.
HubReport export_to_hub(
    CheckpointReader& from, const ModelOptions& model, const HubExport& options,
    const std::function<void(int64_t bytes)>& progress = [](int64_t) {});

// Writes a checkpoint of weights alone (step 0) under root, a gibibyte of tensors in memory at a
// time. recipe: its text, stored in the checkpoint. lease: on root, while this writes there.
// made_with: scalars beside the steps.
SaveReport import_from_hub(
    Storage& storage, HubModel& from, const std::string& root, const std::string& recipe,
    const std::function<void(int64_t tensors, int64_t of)>& progress = [](int64_t, int64_t) {},
    const Lease* lease = nullptr, const std::map<std::string, std::string>& made_with = {});

}  // namespace tessera
