// SPDX-License-Identifier: Apache-2.0
// Keys of the sections router and mtp.
#include "launch/recipe/rows.h"
#include "launch/recipe/sections.h"

namespace tessera {

std::vector<RecipeField> router_fields() {
  using R = Recipe;
  std::vector<RecipeField> rows;
  const auto add = [&](RecipeField row) { rows.push_back(std::move(row)); };
  add(word_row<Balance>(
      "router.balance", [](R & r) -> auto& { return r.router.balance; },
      "aux_free: a bias per expert steers the choice, updated after each step"));
  add(number_row(
      "router.bias_update_speed", [](R & r) -> auto& { return r.router.bias_update_speed; },
      "aux_free: what a bias changes by"));
  add(length_row(
      "router.bias_update_steps", "router.bias_update_tokens", "null",
      [](R & r) -> auto& { return r.router.bias_update.steps; },
      "aux_free: biases stay as they are from this step on; null: never"));
  add(length_row(
      "router.bias_update_tokens", "router.bias_update_steps", "null",
      [](R & r) -> auto& { return r.router.bias_update.tokens; },
      "aux_free: biases stay as they are from this token on; null: never"));
  add(number_row(
      "router.sequence_aux_loss", [](R & r) -> auto& { return r.router.sequence_aux_loss; },
      "factor of the balance loss of each sequence; 0: off"));
  add(number_row(
      "router.expert_aux_loss", [](R & r) -> auto& { return r.router.expert_aux_loss; },
      "factor of DeepSeek-V2's loss over experts; 0: off"));
  add(number_row(
      "router.device_aux_loss", [](R & r) -> auto& { return r.router.device_aux_loss; },
      "factor of DeepSeek-V2's loss over the n_group groups; 0: off"));
  add(number_row(
      "router.communication_aux_loss",
      [](R & r) -> auto& { return r.router.communication_aux_loss; },
      "factor of DeepSeek-V2's loss over rows that each group receives; 0: off"));
  add(number_row(
      "router.expert_buffer", [](R & r) -> auto& { return r.router.expert_buffer; },
      "rows that an expert rank receives at once, times the mean; more: in rounds"));
  add(integer_row(
      "router.rebalance_every", [](R & r) -> auto& { return r.router.rebalance_every; },
      "steps between re-placements of experts over ranks; 0: they stay"));
  add(number_row(
      "mtp.loss_weight", [](R & r) -> auto& { return r.mtp.loss_weight; },
      "weight of the mean loss of the further tokens (model.num_nextn_predict_layers)"));
  add(length_row(
      "mtp.second_phase_steps", "mtp.second_phase_tokens", "null",
      [](R & r) -> auto& { return r.mtp.second_phase.steps; },
      "from this step on second_loss_weight holds; null: never"));
  add(length_row(
      "mtp.second_phase_tokens", "mtp.second_phase_steps", "null",
      [](R & r) -> auto& { return r.mtp.second_phase.tokens; },
      "from this token on second_loss_weight holds; null: never"));
  add(number_row(
      "mtp.second_loss_weight", [](R & r) -> auto& { return r.mtp.second_loss_weight; },
      "weight of the second phase"));
  return rows;
}

}  // namespace tessera
