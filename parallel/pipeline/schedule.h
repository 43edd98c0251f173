// SPDX-License-Identifier: Apache-2.0
// A pipeline schedule is data: for every rank a list of actions. It can be printed, parsed and
// checked; one executor runs it (executor.h). No layer knows it.
//   text form, one line a rank:  "F0.0 B0.0 W0.0 F0.1 ..."  = operation, chunk, microbatch
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// F: forward of a chunk; B: the gradient of its input; W: the gradient of its weights.
enum class Op : uint8_t { forward, backward_input, backward_weight };

struct Action {
  Op op;
  int chunk;  // which of the rank's pieces of the model
  int micro;  // microbatch
  friend bool operator==(const Action&, const Action&) = default;
};
using Schedule = std::vector<Action>;  // what one rank does, in order

struct Plan {
  int num_micro = 0;
  std::vector<Schedule> ranks;                   // by pipeline coordinate
  std::vector<std::vector<int>> stage_of_chunk;  // [rank][chunk]: its place in the model
};

std::string to_string(const Schedule& schedule);
Schedule parse_schedule(std::string_view text);  // throws Error{usage} naming the bad word

// One forward, one backward (Narayanan et al., "PipeDream", SOSP'19, arXiv:1806.03377), backward in
// two halves with W right after B. With one stage: F B W F B W ... = gradient accumulation.
Plan one_f_one_b(int num_stages, int num_micro);

// Throws Error{internal} naming rank and action unless every rank has each F, B and W once, in the
// order F < B < W, and the weight halves of a chunk in increasing microbatch order (which fixes the
// bits of the gradient: docs/numerics.md).
void check_plan(const Plan& plan);

}  // namespace tessera
