// SPDX-License-Identifier: Apache-2.0
// What a Trainer saves, and how it takes it back.
#include <algorithm>
#include <charconv>

#include "trainer/group_rule.h"
#include "trainer/model_state.h"
#include "trainer/trainer.h"

namespace tessera {
namespace {

int64_t integer(const State& state, const std::string& key) {
  const auto found = state.scalars.find(key);
  check(found != state.scalars.end(), ErrorKind::checkpoint, "checkpoint: no scalar '" + key + "'");
  const std::string& text = found->second;
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  check(result.ec == std::errc() && result.ptr == text.data() + text.size(), ErrorKind::checkpoint,
        "checkpoint: scalar '" + key + "' is not a whole number: '" + text + "'");
  return value;
}

}  // namespace

State Trainer::weights() const {
  State state = weights_of(parameters(), comms_);
  if (step_.routing()) add_biases(*step_.routing(), recipe_.model, comms_.rank() == 0, state);
  return state;
}

State Trainer::gradients() const {
  return gradients_of(parameters(), comms_);
}

State Trainer::state() const {
  check(!unsettled_, "Trainer::state: nobody has the report of the last step");
  State state = tensors_of(parameters(), comms_);
  if (step_.routing()) add_biases(*step_.routing(), recipe_.model, comms_.rank() == 0, state);
  state.scalars["step"] = std::to_string(steps_);
  state.scalars["updates"] = std::to_string(updates_);
  state.scalars["tokens"] = std::to_string(tokens_);
  state.scalars["cursor"] = std::to_string(loader_->cursor().samples);
  state.scalars["loss_scaler"] = scaler_.state();
  record_group_rule(recipe_.model, state.scalars);
  return state;
}

void Trainer::restore(const State& state) {
  publish_weights();
  steps_ = integer(state, "step");
  updates_ = integer(state, "updates");
  tokens_ = integer(state, "tokens");
  loader_->seek({integer(state, "cursor")});
  const auto scaler = state.scalars.find("loss_scaler");
  if (scaler != state.scalars.end()) scaler_.restore(scaler->second);
  step_.numbers().set(updates_, scaler_.now());
}

void Trainer::publish_weights() {
  step_.store().publish(stream(), comms_);
}

}  // namespace tessera
