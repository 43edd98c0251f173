// SPDX-License-Identifier: Apache-2.0
// A trained model for reading: logits of given tokens, and new text token by token with a cache of
// keys and values. One process; one thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "checkpoint/state.h"
#include "data/packer.h"
#include "trainer/model/build.h"
#include "trainer/model/routing.h"
#include "trainer/recipe.h"

namespace tessera {

struct SamplingOptions {
  int64_t max_tokens = 200;
  double temperature = 0.8;  // 0: always the most likely token
  double top_p = 1.0;        // sample from the smallest set of tokens with this probability
  uint64_t seed = 42;
  int32_t stop_token = -1;  // ends the text; -1: none
};

class LanguageModel {
 public:
  // positions: longest sequence it will see. Weights are uninitialised until state() was filled.
  LanguageModel(const Recipe& recipe, Device device, int64_t positions);
  State weights() const;  // to be filled by load_checkpoint(); then publish()
  void publish();

  // (tokens, vocabulary) of accumulation type, for one sequence from position 0.
  Tensor logits(std::span<const int32_t> tokens);
  // Sum of the losses of tokens[1..] given those before them, in nats.
  double loss(std::span<const int32_t> tokens);
  // The same over prepared windows, whose documents may be masked from each other.
  double loss(const MicroBatch& windows, int64_t sequence_length);
  // New tokens after `prompt`; on_token is called for each as it comes.
  std::vector<int32_t> generate(std::span<const int32_t> prompt, const SamplingOptions& options,
                                const std::function<void(int32_t)>& on_token);

  int64_t vocab_size() const { return recipe_.model.vocab_size; }
  int64_t positions() const { return positions_; }

 private:
  double sum_of_losses(const Micro& micro);
  Micro micro(std::span<const int32_t> tokens, int64_t first_position, bool targets);

  Recipe recipe_;
  int64_t positions_;
  Communicators alone_;
  Stream stream_;
  ParameterStore store_;
  std::unique_ptr<Routing> routing_;  // null: no experts
  std::unique_ptr<Stage> stage_;
};

}  // namespace tessera
