// SPDX-License-Identifier: Apache-2.0
// A model as Hugging Face keeps it: a directory with config.json, tokenizer.json and sharded
// safetensors, under the names that Tessera's parameters have anyway (docs/deepseek.md). Tensors go
// in and out one at a time, whatever the size of the model. Not thread-safe.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/safetensors.h"
#include "checkpoint/state.h"
#include "checkpoint/storage.h"
#include "trainer/model/options.h"

namespace tessera {

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

}  // namespace tessera
