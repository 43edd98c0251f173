// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/build.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/gqa.h"
#include "trainer/model/init.h"
#include "trainer/model/loss_head.h"
#include "trainer/model/mla.h"
#include "trainer/model/moe.h"
#include "trainer/model/mtp.h"
#include "trainer/model/recompute.h"
#include "trainer/model/swiglu.h"

namespace tessera {
namespace {

class Builder {
 public:
  Builder(LayerContext context, const StageOptions& options, const StagePlacement& placement)
      : context_(context), options_(options), model_(options.model), placement_(placement) {
    context_.selective_recompute = options.recomputation == Recomputation::selective;
    const Device device = context.stream.device();
    const DType wide = accumulation_type(context.dtype);
    rotary_ = model_.latent_attention()
                  ? latent_rope_table(device, wide, model_, options.positions)
                  : rope_table(device, wide,
                               rope_inverse_frequencies(static_cast<int>(model_.head_size()),
                                                        model_.rope_theta),
                               options.positions);
  }

  std::unique_ptr<Stage> build() {
    std::vector<Chunk> chunks;
    for (size_t chunk = 0; chunk < placement_.stage_of_chunk.size(); ++chunk) {
      context_.store.begin_chunk(static_cast<int>(chunk));
      chunks.push_back(build_chunk(placement_.stage_of_chunk[chunk]));
    }
    return std::make_unique<Stage>(context_, std::move(chunks), model_.hidden_size);
  }

 private:
  Chunk build_chunk(int stage) {
    Chunk chunk;
    chunk.first = stage == 0;
    chunk.last = stage == placement_.num_stages - 1;
    if (chunk.first) chunk.layers.push_back(embedding());
    const auto& blocks = placement_.layers_per_stage;
    const int64_t first = std::accumulate(blocks.begin(), blocks.begin() + stage, int64_t{0});
    for (int64_t layer = first; layer < first + blocks[static_cast<size_t>(stage)]; ++layer)
      add_block(layer, chunk.layers);
    if (chunk.last) add_last_layers(chunk.layers);
    return chunk;
  }

  void add_last_layers(std::vector<std::unique_ptr<Layer>>& layers) {
    auto last_norm = norm("model.norm.weight");
    auto head = loss_head();
    if (model_.num_nextn_predict_layers > 0) layers.push_back(multi_token_prediction());
    layers.push_back(std::move(last_norm));
    layers.push_back(std::move(head));
  }

  std::unique_ptr<RmsNorm> norm(const std::string& name) {
    return std::make_unique<RmsNorm>(context_, name, model_.hidden_size, model_.rms_norm_eps);
  }

  // (my slice of the vocabulary, H)
  Parameter vocabulary_matrix(const std::string& name) const {
    Parameter table =
        cut_rows(matrix(name, model_.vocab_size, model_.hidden_size, model_.initializer_range),
                 context_.tensor());
    table.decay = options_.decay_embeddings;
    return table;
  }

  // Used by the first stage and, when the head is tied or more than one token is predicted, by the
  // last one: on this rank too, or a copy of the first stage's.
  Parameter embedding_table(bool primary) const {
    Parameter table = vocabulary_matrix(kEmbedding);
    const auto& mine = placement_.stage_of_chunk;
    const auto here = [&](int stage) {
      return std::find(mine.begin(), mine.end(), stage) != mine.end();
    };
    const bool used_twice = model_.tie_word_embeddings || model_.num_nextn_predict_layers > 0;
    table.on_both_ends = used_twice && !(here(0) && here(placement_.num_stages - 1));
    table.primary = primary;
    return table;
  }

  std::unique_ptr<Layer> embedding() {
    auto layer = std::make_unique<Embedding>(context_, embedding_table(true));
    embedding_ = layer->table();
    return layer;
  }

  // One more use, by the last stage.
  Stack embedding_again() {
    if (embedding_) return context_.store.add_use(*embedding_);
    embedding_ = context_.store.add(embedding_table(false));
    return *embedding_;
  }

  int64_t first_token() const {
    return even_part(model_.vocab_size, context_.tensor().rank(), context_.tensor().size()).first;
  }

  std::unique_ptr<LossHead> loss_head() {
    Stack weight;
    if (model_.tie_word_embeddings) {
      weight = embedding_again();
    } else if (head_table_) {
      weight = context_.store.add_use(*head_table_);
    } else {
      head_table_ = context_.store.add(vocabulary_matrix("lm_head.weight"));
      weight = *head_table_;
    }
    return std::make_unique<LossHead>(context_, weight, first_token());
  }

  std::unique_ptr<MultiTokenPrediction> multi_token_prediction() {
    std::vector<MultiTokenPrediction::Depth> depths;
    for (int64_t k = 0; k < model_.num_nextn_predict_layers; ++k) {
      const int64_t layer = model_.num_hidden_layers + k;
      const std::string prefix = layer_prefix(layer);
      MultiTokenPrediction::Depth depth;
      depth.embedding = std::make_unique<Embedding>(context_, embedding_again(), first_token());
      depth.embedding_norm = norm(prefix + "enorm.weight");
      depth.hidden_norm = norm(prefix + "hnorm.weight");
      depth.projection = std::make_unique<Linear>(
          context_, Linear::Style::replicated,
          std::vector<Parameter>{matrix(prefix + "eh_proj.weight", model_.hidden_size,
                                        2 * model_.hidden_size, model_.initializer_range)});
      add_block(layer, depth.block);
      depth.norm = norm(prefix + "shared_head.norm.weight");
      depth.head = loss_head();
      depths.push_back(std::move(depth));
    }
    return std::make_unique<MultiTokenPrediction>(context_, std::move(depths));
  }

  static std::string layer_prefix(int64_t layer) {
    return "model.layers." + std::to_string(layer) + ".";
  }

  std::unique_ptr<Layer> attention_layer(const std::string& prefix) {
    if (model_.latent_attention())
      return std::make_unique<LatentAttention>(context_, prefix, model_, rotary_);
    return std::make_unique<GroupedQueryAttention>(context_, prefix, model_, rotary_);
  }

  std::unique_ptr<Layer> mlp(const std::string& prefix, int64_t layer) {
    if (model_.has_experts(layer))
      return std::make_unique<MixtureOfExperts>(context_, prefix, model_, options_.router, layer);
    return std::make_unique<SwiGlu>(context_, prefix, model_.hidden_size, model_.intermediate_size,
                                    model_.initializer_range, residual_deviation(model_));
  }

  void add_block(int64_t layer, std::vector<std::unique_ptr<Layer>>& layers) {
    const std::string prefix = layer_prefix(layer);
    std::vector<std::unique_ptr<Layer>> block;
    auto attention_norm = norm(prefix + "input_layernorm.weight");
    block.push_back(std::make_unique<ResidualBranch>(
        context_, "attention", std::move(attention_norm), attention_layer(prefix + "self_attn.")));
    auto mlp_norm = norm(prefix + "post_attention_layernorm.weight");
    block.push_back(std::make_unique<ResidualBranch>(context_, "feed-forward", std::move(mlp_norm),
                                                     mlp(prefix + "mlp.", layer)));
    if (options_.recomputation == Recomputation::full) {
      layers.push_back(std::make_unique<Recompute>(std::move(block)));
      return;
    }
    for (auto& branch : block) layers.push_back(std::move(branch));
  }

  static constexpr const char* kEmbedding = "model.embed_tokens.weight";

  LayerContext context_;
  const StageOptions& options_;
  const ModelOptions& model_;
  const StagePlacement& placement_;
  Tensor rotary_;
  // First use on this rank.
  std::optional<Stack> embedding_, head_table_;
};

}  // namespace

std::unique_ptr<Stage> build_stage(LayerContext context, const StageOptions& options,
                                   const StagePlacement& placement) {
  return Builder(context, options, placement).build();
}

std::unique_ptr<Stage> build_stage(LayerContext context, const StageOptions& options) {
  const StagePlacement whole{.stage_of_chunk = {0},
                             .num_stages = 1,
                             .layers_per_stage = {options.model.num_hidden_layers}};
  return build_stage(context, options, whole);
}

}  // namespace tessera
