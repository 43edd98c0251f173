// SPDX-License-Identifier: Apache-2.0
// A whole model whose weights, logits and gradients somebody else's code made: a folder of
// tests/golden with config.json, model.safetensors, grads.safetensors and golden.json.
#pragma once

#include <cmath>
#include <fstream>
#include <functional>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/state.h"
#include "data/token_file.h"
#include "trainer/recipe.h"

namespace tessera::test {

struct StoredTensor {
  std::vector<int64_t> shape;
  std::vector<float> elements;
};

inline std::map<std::string, StoredTensor> stored_tensors(const std::string& path) {
  PosixStorage storage;
  SafetensorsFile file = SafetensorsFile::open(storage, path);
  std::map<std::string, StoredTensor> tensors;
  for (const auto& [name, entry] : file.entries()) {
    const ShardSpec whole = ShardSpec::whole(entry.shape);
    const Tensor out(Device{}, DType::f32, {1, whole.box.size()});
    file.read(name, whole.box, out);
    tensors[name] = {entry.shape, {out.as<float>(), out.as<float>() + out.size()}};
  }
  return tensors;
}

struct GoldenModel {
  explicit GoldenModel(const std::string& name)
      : directory(std::string(TESSERA_SOURCE_DIR) + "/tests/golden/" + name + "/"),
        config(json("config.json")),
        golden(json("golden.json")),
        weights(stored_tensors(directory + "model.safetensors")) {
    grads = stored_tensors(directory + "grads.safetensors");
    tokens = golden["tokens"].get<std::vector<std::vector<int32_t>>>();
  }
  nlohmann::json json(const std::string& file) const {
    return nlohmann::json::parse(std::ifstream(directory + file));
  }

  ModelOptions options() const {
    ModelOptions model;
    const auto take = [&](const char* key, auto& into) {
      if (config.contains(key) && !config[key].is_null())
        into = config[key].get<std::remove_cvref_t<decltype(into)>>();
    };
    model.architecture = value_named<Architecture>(config["model_type"].get<std::string>()).value();
    take("vocab_size", model.vocab_size);
    take("hidden_size", model.hidden_size);
    take("intermediate_size", model.intermediate_size);
    take("num_hidden_layers", model.num_hidden_layers);
    take("num_attention_heads", model.num_attention_heads);
    take("num_key_value_heads", model.num_key_value_heads);
    take("rope_theta", model.rope_theta);
    take("rms_norm_eps", model.rms_norm_eps);
    take("tie_word_embeddings", model.tie_word_embeddings);
    if (model.has_experts()) {
      take("first_k_dense_replace", model.first_k_dense_replace);
      take("moe_intermediate_size", model.moe_intermediate_size);
      take("n_routed_experts", model.n_routed_experts);
      take("n_shared_experts", model.n_shared_experts);
      take("num_experts_per_tok", model.num_experts_per_tok);
      take("n_group", model.n_group);
      take("topk_group", model.topk_group);
      model.scoring_func = value_named<Scoring>(config.value("scoring_func", ""));
      model.topk_method = value_named<Selection>(config.value("topk_method", ""));
      take("routed_scaling_factor", model.routed_scaling_factor);
      if (config.contains("norm_topk_prob"))
        model.norm_topk_prob = config["norm_topk_prob"].get<bool>();
    }
    take("head_dim", model.head_dim);
    if (!model.latent_attention()) return model;
    if (config.contains("rope_scaling") && !config["rope_scaling"].is_null()) {
      const auto& scaling = config["rope_scaling"];
      model.rope_scaling = {
          .type = value_named<RopeType>(scaling["type"].get<std::string>()),
          .factor = scaling["factor"],
          .original_max_position_embeddings = scaling["original_max_position_embeddings"],
          .beta_fast = scaling["beta_fast"],
          .beta_slow = scaling["beta_slow"],
          .mscale = scaling["mscale"],
          .mscale_all_dim = scaling["mscale_all_dim"]};
    }
    take("q_lora_rank", model.q_lora_rank);
    take("kv_lora_rank", model.kv_lora_rank);
    take("qk_nope_head_dim", model.qk_nope_head_dim);
    take("qk_rope_head_dim", model.qk_rope_head_dim);
    take("v_head_dim", model.v_head_dim);
    return model;
  }

  // Each sequence is a source of its own, so that a step of all of them is the golden batch.
  Recipe recipe(const std::string& corpora) const {
    Recipe recipe;
    recipe.name = "golden";
    recipe.model = options();
    for (size_t i = 0; i < tokens.size(); ++i)
      recipe.data.blend.push_back({corpora + "/" + std::to_string(i), 1});
    recipe.data.sequence_length = static_cast<int64_t>(tokens[0].size()) - 1;
    recipe.data.shuffle = false;
    recipe.batch = {.global = static_cast<int64_t>(tokens.size()), .micro = 1};
    recipe.precision.compute = ComputeType::f32;
    recipe.optimizer.lr = 1e-3;
    recipe.lr_schedule.kind = LrKind::constant;
    recipe.run.steps = 10;
    recipe.run.device = "cpu";
    return recipe;
  }
  void write_corpora(const std::string& directory_of_corpora) const {
    for (size_t i = 0; i < tokens.size(); ++i) {
      TokenFileWriter writer(directory_of_corpora + "/" + std::to_string(i),
                             config["vocab_size"].get<int64_t>());
      writer.add(tokens[i]);
      writer.end_document();
      writer.finish({});
    }
  }

  // Calls visit(element of the state, element of `from`) for each element of the entry's box; the
  // second is null where `from` has no such tensor.
  static void each_element(const StateEntry& entry, const std::map<std::string, StoredTensor>& from,
                           const std::function<void(float&, const float*)>& visit) {
    const auto found = from.find(entry.name);
    const Box& box = entry.shard.box;
    const bool flat = box.extent.size() < 2;
    const int64_t columns = entry.shard.global_shape.back();
    for (int64_t row = 0; row < entry.tensor.rows(); ++row)
      for (int64_t column = 0; column < entry.tensor.columns(); ++column) {
        const int64_t index = flat ? box.offset[0] + column
                                   : (box.offset[0] + row) * columns + box.offset[1] + column;
        visit(entry.tensor.row<float>(row)[column],
              found == from.end() ? nullptr : &found->second.elements[static_cast<size_t>(index)]);
      }
  }
  void load(const State& state) const {
    for (const StateEntry& entry : state.entries)
      each_element(entry, weights, [&](float& weight, const float* stored) {
        check(stored != nullptr, "no weight", entry.name);
        weight = *stored;
      });
  }

  std::string directory;
  nlohmann::json config, golden;
  std::map<std::string, StoredTensor> weights, grads;
  std::vector<std::vector<int32_t>> tokens;
};

// Of each tensor by name: squares of what differs from the truth, and of the truth.
using Squares = std::map<std::string, std::pair<double, double>>;

inline void add_squares(const State& gradients, double factor,
                        const std::map<std::string, StoredTensor>& truth, Squares& squares) {
  for (const StateEntry& entry : gradients.entries) {
    if (!entry.owner) continue;
    auto& [off, all] = squares[entry.name];
    GoldenModel::each_element(entry, truth, [&](float& value, const float* stored) {
      const double wanted = stored ? *stored : 0;
      off += std::pow(value * factor - wanted, 2);
      all += wanted * wanted;
    });
  }
}

}  // namespace tessera::test
