// SPDX-License-Identifier: Apache-2.0
// What a Trainer saves, and how it takes it back.
#include <algorithm>
#include <charconv>

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

// Which rank of `size` writes each parameter: always the one with the fewest bytes so far.
std::vector<int> balanced_owners(const ParameterStore& store, int size) {
  std::vector<int64_t> load(static_cast<size_t>(size), 0);
  std::vector<int> owners;
  for (const Parameter& parameter : store.all()) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += parameter.range.count;
    owners.push_back(static_cast<int>(least - load.begin()));
  }
  return owners;
}

}  // namespace

State Trainer::weights() const {
  State state;
  const std::vector<int> owners = balanced_owners(store_, comms_.data().size());
  for (const Parameter& parameter : store_.all())
    state.entries.push_back(
        {.name = parameter.name,
         .role = "param",
         .tensor = store_.view(store_.masters(), parameter.index),
         .shard = parameter.shard,
         .owner = owners[static_cast<size_t>(parameter.index)] == comms_.data().rank()});
  return state;
}

State Trainer::state() const {
  State state = weights();
  const size_t num_weights = state.entries.size();
  const auto add_moments = [&](const char* role, const Tensor& flat) {
    for (size_t i = 0; i < num_weights; ++i) {
      StateEntry entry = state.entries[i];
      entry.role = role;
      entry.tensor = store_.view(flat, static_cast<int>(i));
      state.entries.push_back(std::move(entry));
    }
  };
  add_moments("exp_avg", store_.first_moments());
  add_moments("exp_avg_sq", store_.second_moments());
  state.scalars["step"] = std::to_string(step_);
  state.scalars["updates"] = std::to_string(updates_);
  state.scalars["tokens"] = std::to_string(tokens_);
  state.scalars["cursor"] = std::to_string(loader_->cursor().samples);
  state.scalars["loss_scaler"] = scaler_.state();
  return state;
}

void Trainer::restore(const State& state) {
  publish_weights();
  step_ = integer(state, "step");
  updates_ = integer(state, "updates");
  tokens_ = integer(state, "tokens");
  loader_->seek({integer(state, "cursor")});
  const auto scaler = state.scalars.find("loss_scaler");
  if (scaler != state.scalars.end()) scaler_.restore(scaler->second);
}

void Trainer::publish_weights() {
  store_.publish(stream_);
}

}  // namespace tessera
