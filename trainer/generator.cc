// SPDX-License-Identifier: Apache-2.0
#include "trainer/generator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/exact_sum.h"
#include "kernels/base/random.h"
#include "kernels/copy.h"
#include "kernels/reduce.h"
#include "kernels/transfer.h"
#include "trainer/model/attention_cache.h"
#include "trainer/model_state.h"
#include "trainer/to_micro.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

std::vector<double> last_row(Stream& stream, const Tensor& all) {
  const Tensor logits = on_host(stream, all.row_slice(all.rows() - 1, 1));
  std::vector<double> scores(static_cast<size_t>(logits.columns()));
  const int64_t row = 0;
  for (size_t i = 0; i < scores.size(); ++i)
    scores[i] = logits.dtype() == DType::f64 ? logits.row<double>(row)[i]
                                             : static_cast<double>(logits.row<float>(row)[i]);
  return scores;
}

int32_t sample(const std::vector<double>& scores, const SamplingOptions& options, double uniform) {
  const auto best = std::max_element(scores.begin(), scores.end());
  if (options.temperature <= 0) return static_cast<int32_t>(best - scores.begin());
  std::vector<double> weight(scores.size());
  for (size_t i = 0; i < scores.size(); ++i)
    weight[i] = std::exp((scores[i] - *best) / options.temperature);
  std::vector<int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return weight[static_cast<size_t>(a)] > weight[static_cast<size_t>(b)];
  });
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  double kept = 0;  // the nucleus (Holtzman et al., arXiv:1904.09751)
  size_t count = 0;
  while (count < order.size() && (count == 0 || kept < options.top_p * total))
    kept += weight[static_cast<size_t>(order[count++])];
  double left = uniform * kept;
  for (size_t i = 0; i < count; ++i) {
    left -= weight[static_cast<size_t>(order[i])];
    if (left < 0) return order[i];
  }
  return order[count - 1];
}

}  // namespace

LanguageModel::LanguageModel(const Recipe& recipe, Device device, int64_t positions)
    : recipe_(recipe), positions_(positions), stream_(device) {
  if (recipe_.model.has_experts())
    routing_ = std::make_unique<Routing>(stream_, recipe_.model, positions);
  const LayerContext context{.stream = stream_,
                             .store = store_,
                             .comms = alone_,
                             .dtype = recipe.compute_type(),
                             .routing = routing_.get()};
  stage_ = build_stage(context, stage_options(recipe_, positions));
  store_.allocate_for_inference(device, recipe.compute_type());
}

State LanguageModel::weights() const {
  State state;
  for (const Piece& piece : store_.pieces())
    state.entries.push_back({.name = store_.at(piece.parameter).name,
                             .role = "param",
                             .tensor = store_.master(piece),
                             .shard = piece.shard,
                             .owner = true});
  if (routing_) add_biases(*routing_, recipe_.model, true, state);
  return state;
}

void LanguageModel::publish() {
  store_.publish(stream_, alone_);
}

Micro LanguageModel::micro(std::span<const int32_t> tokens, int64_t first_position, bool targets) {
  // With targets the last token is only predicted: it takes no position.
  const auto rows = static_cast<int64_t>(tokens.size()) - (targets ? 1 : 0);
  check(first_position + rows <= positions_, ErrorKind::usage,
        "the text has more tokens than the model has positions:", first_position + rows, "of",
        positions_);
  Micro micro;
  micro.num_sequences = 1;
  micro.sequence_length = rows;
  for (const int32_t token : tokens)
    check(token >= 0 && token < vocab_size(), ErrorKind::data, "token id", token,
          "is outside the model's vocabulary of", vocab_size());
  const std::vector<int32_t> text(tokens.begin(), tokens.begin() + rows);
  std::vector<int32_t> positions(text.size());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first_position));
  micro.tokens = uploaded(stream_, text);
  micro.positions = uploaded(stream_, positions);
  if (targets)
    micro.targets = uploaded(stream_, std::vector<int32_t>(tokens.begin() + 1, tokens.end()));
  return micro;
}

Tensor LanguageModel::logits(std::span<const int32_t> tokens) {
  return on_host(stream_, stage_->logits(micro(tokens, 0, false)));
}

double LanguageModel::sum_of_losses(const Micro& micro) {
  const Tensor words(stream_.device(), DType::i64, {ExactSum::kWords});
  fill(stream_, 0, words);
  exact_sum(stream_, stage_->losses(micro), words);
  return read_sum(stream_, words).round();
}

double LanguageModel::loss(std::span<const int32_t> tokens) {
  return tokens.size() < 2 ? 0 : sum_of_losses(micro(tokens, 0, true));
}

double LanguageModel::loss(const MicroBatch& windows, int64_t sequence_length) {
  return sum_of_losses(to_micro(stream_, windows, sequence_length));
}

std::vector<int32_t> LanguageModel::generate(std::span<const int32_t> prompt,
                                             const SamplingOptions& options,
                                             const std::function<void(int32_t)>& on_token) {
  check(!prompt.empty(), ErrorKind::usage, "the prompt has no tokens; give some text with -p");
  const Philox philox{options.seed, stream_named("generate")};
  SequenceCache cache(positions_);
  std::vector<int32_t> next(prompt.begin(), prompt.end()), fresh;
  while (static_cast<int64_t>(fresh.size()) < options.max_tokens) {
    if (cache.length() + static_cast<int64_t>(next.size()) > positions_) break;
    const Micro step = micro(next, cache.length(), false);
    const Tensor scores = stage_->logits(step, &cache);
    cache.advance(step.rows());
    const int32_t token = sample(last_row(stream_, scores), options, philox.uniform(fresh.size()));
    if (token == options.stop_token) break;
    fresh.push_back(token);
    on_token(token);
    next = {token};
  }
  return fresh;
}

}  // namespace tessera
