// SPDX-License-Identifier: Apache-2.0
// What a short run computed, tensor by tensor, put together on its first rank: the material that
// two layouts are compared by.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checkpoint/state.h"
#include "parallel/communicators.h"
#include "trainer/model/routing.h"
#include "trainer/recipe.h"

namespace tessera {

// Whole tensors by name. Doubles hold every type exactly, so equal values are equal bits.
using TensorMap = std::map<std::string, std::vector<double>>;

struct Captured {
  std::vector<double> losses;               // of each step
  std::vector<double> grad_norms;           // of each step
  TensorMap gradients;                      // of step 1, unscaled, before clipping
  TensorMap weights;                        // after the last step
  std::map<std::string, TensorMap> states;  // of the optimizer after the last step, by what it is
  RoutingFlips flips;                       // of all ranks; margin: of step 1, from equal weights
};

// Of a model with experts: where to write down who chose what, or what to choose instead.
struct RoutingTape {
  RoutingRecord* record = nullptr;
  const RoutingRecord* replay = nullptr;
};

// Every owned box of every rank, put together on rank 0 of `group` and nowhere else, by role.
// Collective. Throws Error{internal} when the boxes do not cover a tensor exactly once.
std::map<std::string, TensorMap> gather_tensors(Stream& stream, Communicator& group,
                                                const State& state);

// Trains the recipe for run.steps steps on the device, whose kind is that of the recipe. Collective
// over comms.world(); the tensors are there on its rank 0 alone.
Captured capture(const Recipe& recipe, Device device, const Communicators& comms,
                 const RoutingTape& tape = {});
// On the host: the CPU or the reference, as the recipe says.
Captured capture(const Recipe& recipe, const Communicators& comms, const RoutingTape& tape = {});

// A record as text and back, to send it to other ranks.
std::string to_text(const RoutingRecord& record);
RoutingRecord routing_record(const std::string& text);

}  // namespace tessera
