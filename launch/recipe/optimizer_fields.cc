// SPDX-License-Identifier: Apache-2.0
// Keys of the sections precision, optimizer and lr_schedule.
#include "launch/recipe/rows.h"
#include "launch/recipe/scalar.h"
#include "launch/recipe/sections.h"

namespace tessera {
namespace {

LrShape shape_of(const std::string& word, size_t number) {
  const auto shape = value_named<LrShape>(word);
  if (!shape)
    throw RuleError("phase " + std::to_string(number) + ": shape must be " +
                    alternatives(names_of<LrShape>()) + ", got '" + word + "'");
  return *shape;
}

// "{shape: cosine, lr: 2.2e-05, tokens: 4.3T}"
LrPhase phase_of(const RecipeNode& node, size_t number) {
  const auto unquoted = [](const RecipeNode& n) { return unquoted_scalar_of(n, "a number"); };
  LrPhase phase;
  if (node.kind != RecipeNode::Kind::map) throw ScalarError("wants maps in its list");
  for (const auto& entry : node.entries) {
    if (entry.key == "shape")
      phase.shape = shape_of(scalar_of(entry.value, "a word"), number);
    else if (entry.key == "lr")
      phase.lr = parse_number(unquoted(entry.value));
    else if (entry.key == "steps")
      phase.length.steps = parse_integer(unquoted(entry.value));
    else if (entry.key == "tokens")
      phase.length.tokens = parse_integer(unquoted(entry.value));
    else
      throw ScalarError("has the unknown key `" + entry.key + "`; keys: shape, lr, steps, tokens");
  }
  return phase;
}

std::string written(const LrPhase& phase) {
  const bool tokens = phase.length.tokens > 0;
  return "{shape: " + yaml_text(name_of(phase.shape)) +
         (phase.lr ? ", lr: " + format_number(*phase.lr) : "") +
         (tokens ? ", tokens: " : ", steps: ") +
         std::to_string(tokens ? phase.length.tokens : phase.length.steps) + "}";
}

RecipeField phases() {
  return {
      "lr_schedule.phases",
      "array",
      {},
      "phases, one after the other from the run's start, warm-up included: [{tokens: 10T}, "
      "{shape: cosine, lr: 2.2e-5, tokens: 4.3T}, ...]; shape constant, linear or cosine, lr at "
      "its end, steps or tokens; the last lr holds on",
      [](Recipe& r, const RecipeNode& n) {
        if (n.kind != RecipeNode::Kind::list)
          throw ScalarError("wants a list of {shape: WORD, lr: NUMBER, tokens: NUMBER}");
        r.lr_schedule.phases.clear();
        for (const RecipeNode& item : n.items)
          r.lr_schedule.phases.push_back(phase_of(item, r.lr_schedule.phases.size() + 1));
      },
      [](const Recipe& r) {
        std::string list;
        for (const LrPhase& phase : r.lr_schedule.phases)
          list += (list.empty() ? "" : ", ") + written(phase);
        return "[" + list + "]";
      }};
}

}  // namespace

std::vector<RecipeField> optimizer_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(word_row<ComputeType>(
      "precision.compute", [](R & r) -> auto& { return r.precision.compute; },
      "type of activations and of the weights that layers read"));
  add(word_row<WideType>(
      "precision.master_weights", [](R & r) -> auto& { return r.precision.master_weights; },
      "type of the weights that the optimizer updates"));
  add(word_row<WideType>(
      "precision.reduce", [](R & r) -> auto& { return r.precision.reduce; },
      "type in which gradients are summed over ranks"));
  add(boolean_row(
      "precision.tf32", [](R & r) -> auto& { return r.precision.tf32; },
      "on GPUs with compute f32: matrix products on tensor cores, operands rounded to TF32 (10 "
      "bits)"));
  add(word_row<LossScalingMode>(
      "precision.loss_scaling.mode", [](R & r) -> auto& { return r.precision.loss_scaling.mode; },
      "auto: dynamic for f16, none otherwise"));
  add(word_row<LossScalingStyle>(
      "precision.loss_scaling.style", [](R & r) -> auto& { return r.precision.loss_scaling.style; },
      "whose rules the scale follows"));
  add(number_row(
      "precision.loss_scaling.initial",
      [](R & r) -> auto& { return r.precision.loss_scaling.initial; }, "first scale"));
  add(integer_row(
      "precision.loss_scaling.growth_interval",
      [](R & r) -> auto& { return r.precision.loss_scaling.growth_interval; },
      "good steps in a row before the scale doubles"));
  add(integer_row(
      "precision.loss_scaling.hysteresis",
      [](R & r) -> auto& { return r.precision.loss_scaling.hysteresis; },
      "megatron: overflows tolerated before the scale falls"));
  add(number_row(
      "precision.loss_scaling.min", [](R & r) -> auto& { return r.precision.loss_scaling.min; },
      "megatron: the scale never falls below"));

  add(word_row<OptimizerName>(
      "optimizer.name", [](R & r) -> auto& { return r.optimizer.name; }, "optimizer"));
  add(number_row(
      "optimizer.lr", [](R & r) -> auto& { return r.optimizer.lr; }, "peak learning rate"));
  add(numbers_row(
      "optimizer.betas", [](R & r) -> auto& { return r.optimizer.betas; },
      "decay rates of the two moments"));
  add(number_row(
      "optimizer.eps", [](R & r) -> auto& { return r.optimizer.eps; },
      "added after the bias-corrected square root"));
  add(number_row(
      "optimizer.weight_decay", [](R & r) -> auto& { return r.optimizer.weight_decay; },
      "on matrices; norm weights are never decayed"));
  add(boolean_row(
      "optimizer.decay_embeddings", [](R & r) -> auto& { return r.optimizer.decay_embeddings; },
      "decay the embedding and the head too"));
  add(number_row(
      "optimizer.grad_clip", [](R & r) -> auto& { return r.optimizer.grad_clip; },
      "largest global gradient norm; 0: off"));

  add(word_row<LrKind>(
      "lr_schedule.kind", [](R & r) -> auto& { return r.lr_schedule.kind; },
      "shape of the learning rate"));
  add(length_row(
      "lr_schedule.warmup_steps", "lr_schedule.warmup_tokens", "null",
      [](R & r) -> auto& { return r.lr_schedule.warmup.steps; }, "updates of linear warm-up"));
  add(length_row(
      "lr_schedule.warmup_tokens", "lr_schedule.warmup_steps", "null",
      [](R & r) -> auto& { return r.lr_schedule.warmup.tokens; }, "the same in tokens"));
  add(length_row(
      "lr_schedule.decay_steps", "lr_schedule.decay_tokens", "auto",
      [](R & r) -> auto& { return r.lr_schedule.decay.steps; },
      "cosine: update at which the minimum is reached, auto: the run's end; wsd: updates of "
      "the last phase"));
  add(length_row(
      "lr_schedule.decay_tokens", "lr_schedule.decay_steps", "auto",
      [](R & r) -> auto& { return r.lr_schedule.decay.tokens; }, "the same in tokens"));
  add(number_row(
      "lr_schedule.min_lr_ratio", [](R & r) -> auto& { return r.lr_schedule.min_lr_ratio; },
      "minimum as a share of the peak"));
  add(numbers_row(
      "lr_schedule.milestones", [](R & r) -> auto& { return r.lr_schedule.milestones; },
      "multi_step: where, as shares of run.steps or run.tokens"));
  add(number_row(
      "lr_schedule.milestone_factor", [](R & r) -> auto& { return r.lr_schedule.milestone_factor; },
      "multi_step: what each one multiplies the rate with"));
  add(phases());
  return rows;
}

}  // namespace tessera
