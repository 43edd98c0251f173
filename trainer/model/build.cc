// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/build.h"

#include "trainer/model/block.h"
#include "trainer/model/embedding.h"
#include "trainer/model/gqa.h"
#include "trainer/model/init.h"
#include "trainer/model/swiglu.h"

namespace tessera {

std::unique_ptr<Stage> build_stage(LayerContext context, const ModelOptions& model,
                                   const OptimizerOptions& optimizer, int64_t positions) {
  std::vector<std::unique_ptr<Layer>> layers;
  auto embedding = std::make_unique<Embedding>(context, "model.embed_tokens.weight",
                                               model.vocab_size, model.hidden_size,
                                               model.initializer_range, optimizer.decay_embeddings);
  const Stack table = embedding->table();
  layers.push_back(std::move(embedding));

  const auto head_dim = static_cast<int>(model.head_size());
  const Tensor rotary = rope_table(context.stream.device(), accumulation_type(context.dtype),
                                   rope_inverse_frequencies(head_dim, model.rope_theta), positions);
  const auto norm = [&](const std::string& name) {
    return std::make_unique<RmsNorm>(context, name, model.hidden_size, model.rms_norm_eps);
  };
  for (int64_t layer = 0; layer < model.num_hidden_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    auto attention_norm = norm(prefix + "input_layernorm.weight");
    layers.push_back(std::make_unique<ResidualBranch>(
        context, std::move(attention_norm),
        std::make_unique<GroupedQueryAttention>(context, prefix + "self_attn.", model, rotary)));
    auto mlp_norm = norm(prefix + "post_attention_layernorm.weight");
    layers.push_back(std::make_unique<ResidualBranch>(
        context, std::move(mlp_norm),
        std::make_unique<SwiGlu>(context, prefix + "mlp.", model.hidden_size,
                                 model.intermediate_size, model.initializer_range,
                                 residual_deviation(model))));
  }
  layers.push_back(norm("model.norm.weight"));

  Stack head_weight;
  if (model.tie_word_embeddings) {
    head_weight = context.store.add_use(table);
  } else {
    Parameter weight =
        matrix("lm_head.weight", model.vocab_size, model.hidden_size, model.initializer_range);
    weight.decay = optimizer.decay_embeddings;
    head_weight = context.store.add(std::move(weight));
  }
  auto head = std::make_unique<LossHead>(context, head_weight, model.tie_word_embeddings);
  LossHead* last = head.get();
  layers.push_back(std::move(head));
  return std::make_unique<Stage>(context, std::move(layers), last);
}

double training_flops_per_token(const ModelOptions& model, int64_t sequence_length) {
  const auto hidden = static_cast<double>(model.hidden_size);
  const auto query = static_cast<double>(model.num_attention_heads * model.head_size());
  const auto key = static_cast<double>(model.kv_heads() * model.head_size());
  const double attention_weights = hidden * (2 * query + 2 * key);
  const double mlp_weights = 3 * hidden * static_cast<double>(model.intermediate_size);
  const double weights =
      static_cast<double>(model.num_hidden_layers) * (attention_weights + mlp_weights) +
      hidden * static_cast<double>(model.vocab_size);
  // q k^T and p v: 2 products of T * query multiply-adds a row, half of them masked.
  const double attention =
      static_cast<double>(model.num_hidden_layers) * query * static_cast<double>(sequence_length);
  return 6 * (weights + attention);
}

}  // namespace tessera
