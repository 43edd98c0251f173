// SPDX-License-Identifier: Apache-2.0
#include "trainer/model/router_layer.h"

#include <algorithm>

#include "kernels/base/trace.h"
#include "kernels/copy.h"
#include "kernels/elementwise.h"
#include "kernels/reduce.h"
#include "trainer/model/linear.h"
#include "trainer/model/routing.h"

namespace tessera {
namespace {

// x in the type of sums: x itself where that is its type.
Tensor widened(Stream& stream, const Tensor& x) {
  const DType wide = accumulation_type(x.dtype());
  if (x.dtype() == wide) return x;
  const Tensor out(x.device(), wide, {x.rows(), x.columns()});
  cast(stream, x, out);
  return out;
}

Tensor zeros(Stream& stream, DType dtype, int64_t rows, int64_t columns) {
  const Tensor out(stream.device(), dtype, {rows, columns});
  fill(stream, 0, out);
  return out;
}

}  // namespace

RouterRules router_rules(const ModelOptions& model) {
  RouterRules rules;
  rules.scoring = model.scoring();
  rules.weights.normalize = model.normalizes_topk();
  rules.weights.factor = model.routed_scaling_factor;
  const Selection method = model.selection();
  if (method == Selection::greedy || model.n_group == 1) return rules;
  // DeepSeek's code and transformers score a group by its best two under noaux_tc, whatever
  // num_experts_per_tok is; the paper's k / topk_group is the same for V3 alone.
  rules.groups = {.groups = model.n_group,
                  .kept_groups = model.topk_group,
                  .best_of_group = method == Selection::noaux_tc ? kBestOfGroup : 1};
  return rules;
}

Router::Router(LayerContext context, const std::string& prefix, const ModelOptions& model,
               const RouterOptions& options, int64_t layer)
    : context_(context),
      model_(model),
      options_(options),
      rules_(router_rules(model)),
      layer_(layer) {
  Parameter weight = matrix(prefix + "gate.weight", model_.n_routed_experts, model_.hidden_size,
                            model_.initializer_range);
  weight.replication = Replication::tensor;  // its input is cut by rows
  weight_ = context.store.add(std::move(weight));
}

RouterChoice Router::choose(const Tensor& x, const Micro& micro, bool learns, bool& counted) const {
  const trace::Range range(context_.stream, "compute", [] { return "router"; });
  Stream& stream = context_.stream;
  const TensorParallel tensor = context_.tensor();
  const Tensor logits =
      matmul(stream, widened(stream, x), widened(stream, context_.store.value(weight_)), true);
  RouterChoice choice;
  choice.of = {.first_row = even_part(micro.rows(), tensor.rank(), tensor.size()).first,
               .length = micro.sequence_length};
  choice.scores = Tensor(x.device(), logits.dtype(), {x.rows(), logits.columns()});
  choice.index = Tensor(x.device(), DType::i32, {x.rows(), model_.num_experts_per_tok});
  choice.weights = Tensor(x.device(), logits.dtype(), {x.rows(), model_.num_experts_per_tok});
  router_scores(stream, rules_.scoring, logits, choice.scores);
  Routing* routing = context_.routing;
  router_choose(stream, choice.scores, routing ? routing->bias(layer_) : Tensor(), rules_.groups,
                choice.index);
  if (routing && routing->watches() && micro.first_row >= 0)
    routing->meet(layer_, micro.first_row + choice.of.first_row, choice.scores, choice.index);
  router_weights(stream, choice.scores, choice.index, rules_.weights, choice.weights);

  counted = routing && routing->first_visit(layer_, micro);
  if (counted)
    count_choices(stream, choice.index, 1, {.length = std::max<int64_t>(1, x.rows())},
                  routing->counts(layer_));
  if (learns || counted) balance(choice, micro, counted);
  return choice;
}

bool Router::has_losses() const {
  return options_.sequence_aux_loss > 0 || options_.expert_aux_loss > 0 ||
         options_.device_aux_loss > 0 || options_.communication_aux_loss > 0;
}

// Over all tensor ranks, who share the sequences.
Tensor Router::counts_of(const Tensor& index, int64_t width, const SequenceRows& of,
                         int64_t sequences) const {
  const Tensor counts =
      zeros(context_.stream, DType::i64, sequences, model_.n_routed_experts / width);
  count_choices(context_.stream, index, width, of, counts);
  context_.tensor().group().all_reduce(context_.stream, counts, counts, Reduce::sum,
                                       "balance counts");
  return counts;
}

// A device of DeepSeek-V2 is one of n_group groups of experts: where they lie in this layout
// changes no loss. V3's loss counts the k best scores, whatever bias and groups did to the choice
// (eq 18).
void Router::balance(RouterChoice& choice, const Micro& micro, bool count) const {
  Stream& stream = context_.stream;
  const int64_t sequences = micro.num_sequences, experts = model_.n_routed_experts;
  choice.dshares = zeros(stream, choice.scores.dtype(), sequences, experts);
  if (!has_losses()) return;
  const Tensor shares(stream.device(), DType::f64, {sequences, experts});
  const Tensor loss = zeros(stream, DType::f64, sequences, 1).reshaped({sequences});
  balance_shares(stream, choice.scores, choice.of, shares);
  context_.tensor().group().all_reduce(stream, shares, shares, Reduce::sum, "balance shares");
  const auto k = static_cast<double>(model_.num_experts_per_tok);
  const auto add = [&](double factor, double chosen_by, int64_t devices, const Tensor& counts) {
    balance_loss(stream, {.factor = factor, .chosen_by = chosen_by, .devices = devices}, counts,
                 shares, micro.sequence_length, micro.dsequence, micro.sequence_scale, loss,
                 choice.dshares);
  };
  if (options_.sequence_aux_loss > 0) {
    const Tensor best(stream.device(), DType::i32, {choice.index.rows(), choice.index.columns()});
    router_choose(stream, choice.scores, {}, {}, best);
    add(options_.sequence_aux_loss, k, experts, counts_of(best, 1, choice.of, sequences));
  }
  if (options_.expert_aux_loss > 0 || options_.device_aux_loss > 0) {
    const Tensor counts = counts_of(choice.index, 1, choice.of, sequences);
    if (options_.expert_aux_loss > 0) add(options_.expert_aux_loss, k, experts, counts);
    if (options_.device_aux_loss > 0) add(options_.device_aux_loss, k, model_.n_group, counts);
  }
  if (options_.communication_aux_loss > 0)
    add(options_.communication_aux_loss, static_cast<double>(model_.topk_group), model_.n_group,
        counts_of(choice.index, experts / model_.n_group, choice.of, sequences));
  if (count && context_.tensor().rank() == 0)
    exact_sum(stream, loss, context_.routing->loss_words());
}

Tensor Router::dlogits(const RouterChoice& choice, const Tensor& dweights) const {
  const trace::Range range(context_.stream, "compute", [] { return "router"; });
  const Tensor out(choice.scores.device(), choice.scores.dtype(),
                   {choice.scores.rows(), choice.scores.columns()});
  router_backward(context_.stream, rules_.scoring, choice.scores, choice.index, rules_.weights,
                  dweights, choice.of, choice.dshares, out);
  return out;
}

void Router::backward_input(const Tensor& dlogits, const Tensor& dx) const {
  const trace::Range range(context_.stream, "compute", [] { return "router"; });
  Stream& stream = context_.stream;
  const Tensor wide = matmul(stream, dlogits, widened(stream, context_.store.value(weight_)));
  Tensor narrow = wide;
  if (wide.dtype() != dx.dtype()) {
    narrow = Tensor(dx.device(), dx.dtype(), {dx.rows(), dx.columns()});
    cast(stream, wide, narrow);
  }
  add(stream, dx, narrow, dx);
}

void Router::backward_weight(const Tensor& dlogits, const Tensor& x) const {
  const trace::Range range(context_.stream, "compute", [] { return "router"; });
  add_weight_gradient(context_, weight_, dlogits, widened(context_.stream, x));
}

}  // namespace tessera
