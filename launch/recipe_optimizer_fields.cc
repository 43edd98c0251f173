// SPDX-License-Identifier: Apache-2.0
// Keys of the sections precision, optimizer and lr_schedule.
#include "launch/recipe_rows.h"
#include "launch/recipe_sections.h"
#include "launch/scalar.h"

namespace tessera {

std::vector<RecipeField> optimizer_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(text_row("precision.compute", [](R & r) -> auto& { return r.precision.compute; },
               "type of activations and of the weights that layers read", {"f32", "bf16", "f16"}));
  add(text_row("precision.master_weights",
               [](R & r) -> auto& { return r.precision.master_weights; },
               "type of the weights that the optimizer updates", {"f32"}));
  add(text_row("precision.reduce", [](R & r) -> auto& { return r.precision.reduce; },
               "type in which gradients are summed over ranks", {"f32"}));
  add(text_row("precision.loss_scaling.mode",
               [](R & r) -> auto& { return r.precision.loss_scaling.mode; },
               "auto: dynamic for f16, none otherwise", {"auto", "none", "dynamic"}));
  add(text_row("precision.loss_scaling.style",
               [](R & r) -> auto& { return r.precision.loss_scaling.style; },
               "whose rules the scale follows", {"pytorch", "megatron"}));
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

  add(text_row("optimizer.name", [](R & r) -> auto& { return r.optimizer.name; }, "optimizer",
               {"adamw"}));
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

  add(text_row("lr_schedule.kind", [](R & r) -> auto& { return r.lr_schedule.kind; },
               "shape of the learning rate", {"constant", "warmup_cosine", "wsd", "multi_step"}));
  add(integer_row(
      "lr_schedule.warmup_steps", [](R & r) -> auto& { return r.lr_schedule.warmup_steps; },
      "updates of linear warm-up"));
  add(integer_or_row(
      "lr_schedule.decay_steps", "auto", [](R & r) -> auto& { return r.lr_schedule.decay_steps; },
      "cosine: update at which the minimum is reached, auto: run.steps; wsd: updates of "
      "the last phase"));
  add(number_row(
      "lr_schedule.min_lr_ratio", [](R & r) -> auto& { return r.lr_schedule.min_lr_ratio; },
      "minimum as a share of the peak"));
  add(numbers_row(
      "lr_schedule.milestones", [](R & r) -> auto& { return r.lr_schedule.milestones; },
      "multi_step: where, as shares of run.steps"));
  add(number_row(
      "lr_schedule.milestone_factor", [](R & r) -> auto& { return r.lr_schedule.milestone_factor; },
      "multi_step: what each one multiplies the rate with"));
  return rows;
}

}  // namespace tessera
