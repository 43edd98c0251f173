// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/build.h"

#include <algorithm>
#include <numeric>

#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/gqa.h"
#include "trainer/model/init.h"
#include "trainer/model/recompute.h"
#include "trainer/model/swiglu.h"

namespace tessera {
namespace {

class Builder {
 public:
  Builder(LayerContext context, const Recipe& recipe, const StagePlacement& placement,
          int64_t positions)
      : context_(context), recipe_(recipe), model_(recipe.model), placement_(placement) {
    context_.selective_recompute = recipe.parallel.recompute == "selective";
    rotary_ = rope_table(
        context.stream.device(), accumulation_type(context.dtype),
        rope_inverse_frequencies(static_cast<int>(model_.head_size()), model_.rope_theta),
        positions);
  }

  std::unique_ptr<Stage> build() {
    std::vector<Chunk> chunks;
    LossHead* head = nullptr;
    for (size_t chunk = 0; chunk < placement_.stage_of_chunk.size(); ++chunk) {
      context_.store.begin_chunk(static_cast<int>(chunk));
      chunks.push_back(build_chunk(placement_.stage_of_chunk[chunk], head));
    }
    return std::make_unique<Stage>(context_, std::move(chunks), head, model_.hidden_size);
  }

 private:
  Chunk build_chunk(int stage, LossHead*& head) {
    Chunk chunk;
    chunk.first = stage == 0;
    chunk.last = stage == placement_.num_stages - 1;
    if (chunk.first) chunk.layers.push_back(embedding());
    const auto& blocks = placement_.layers_per_stage;
    const int64_t first = std::accumulate(blocks.begin(), blocks.begin() + stage, int64_t{0});
    for (int64_t layer = first; layer < first + blocks[static_cast<size_t>(stage)]; ++layer)
      add_block(layer, chunk.layers);
    if (chunk.last) {
      chunk.layers.push_back(norm("model.norm.weight"));
      auto last = loss_head();
      head = last.get();
      chunk.layers.push_back(std::move(last));
    }
    return chunk;
  }

  std::unique_ptr<RmsNorm> norm(const std::string& name) {
    return std::make_unique<RmsNorm>(context_, name, model_.hidden_size, model_.rms_norm_eps);
  }

  // (my slice of the vocabulary, H)
  Parameter vocabulary_matrix(const std::string& name) const {
    Parameter table =
        cut_rows(matrix(name, model_.vocab_size, model_.hidden_size, model_.initializer_range),
                 context_.tensor());
    table.decay = recipe_.optimizer.decay_embeddings;
    return table;
  }

  // The head's weight is the embedding's: on this rank too, or a copy of the first stage's.
  Parameter tied_table(bool primary) const {
    Parameter table = vocabulary_matrix(kEmbedding);
    const auto& mine = placement_.stage_of_chunk;
    const auto here = [&](int stage) {
      return std::find(mine.begin(), mine.end(), stage) != mine.end();
    };
    table.on_both_ends =
        model_.tie_word_embeddings && !(here(0) && here(placement_.num_stages - 1));
    table.primary = primary;
    return table;
  }

  std::unique_ptr<Layer> embedding() {
    auto layer = std::make_unique<Embedding>(context_, tied_table(true));
    embedding_ = layer->table();
    has_embedding_ = true;
    return layer;
  }

  std::unique_ptr<LossHead> loss_head() {
    const int64_t first_class =
        even_part(model_.vocab_size, context_.tensor().rank(), context_.tensor().size()).first;
    Stack weight;
    if (!model_.tie_word_embeddings)
      weight = context_.store.add(vocabulary_matrix("lm_head.weight"));
    else
      weight = has_embedding_ ? context_.store.add_use(embedding_)
                              : context_.store.add(tied_table(false));
    return std::make_unique<LossHead>(context_, weight, first_class);
  }

  void add_block(int64_t layer, std::vector<std::unique_ptr<Layer>>& layers) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    std::vector<std::unique_ptr<Layer>> block;
    auto attention_norm = norm(prefix + "input_layernorm.weight");
    block.push_back(std::make_unique<ResidualBranch>(
        context_, std::move(attention_norm),
        std::make_unique<GroupedQueryAttention>(context_, prefix + "self_attn.", model_, rotary_)));
    auto mlp_norm = norm(prefix + "post_attention_layernorm.weight");
    block.push_back(std::make_unique<ResidualBranch>(
        context_, std::move(mlp_norm),
        std::make_unique<SwiGlu>(context_, prefix + "mlp.", model_.hidden_size,
                                 model_.intermediate_size, model_.initializer_range,
                                 residual_deviation(model_))));
    if (recipe_.parallel.recompute == "full") {
      layers.push_back(std::make_unique<Recompute>(std::move(block)));
      return;
    }
    for (auto& branch : block) layers.push_back(std::move(branch));
  }

  static constexpr const char* kEmbedding = "model.embed_tokens.weight";

  LayerContext context_;
  const Recipe& recipe_;
  const ModelOptions& model_;
  const StagePlacement& placement_;
  Tensor rotary_;
  Stack embedding_;
  bool has_embedding_ = false;
};

}  // namespace

std::unique_ptr<Stage> build_stage(LayerContext context, const Recipe& recipe,
                                   const StagePlacement& placement, int64_t positions) {
  return Builder(context, recipe, placement, positions).build();
}

std::unique_ptr<Stage> build_stage(LayerContext context, const Recipe& recipe, int64_t positions) {
  const StagePlacement whole{
      .stage_of_chunk = {0}, .num_stages = 1, .layers_per_stage = {recipe.model.num_hidden_layers}};
  return build_stage(context, recipe, whole, positions);
}

}  // namespace tessera
