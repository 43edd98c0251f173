// SPDX-License-Identifier: Apache-2.0
// A pipeline schedule is data: for every rank a list of actions. It can be generated
// (generators.h), completed with messages (communicate.h), checked, simulated (simulate.h), drawn
// (picture.h), printed and parsed; one executor runs it (executor.h). No layer knows it.
//
// Text form of a rank:  "F0.0 sF0.0 rB0.0 B0.0 W0.0 ..."  = operation, chunk, microbatch
//   F  forward of a chunk                        W  gradient of its weights
//   B  gradient of its input
//   sF send what F made to the next stage        rF receive what F needs from the stage before
//   sB send what B made to the stage before      rB receive what B needs from the next stage
//   G  gather the chunk's whole weights          R  let go of them (ZeRO-3)
// Text form of a plan (lines of a file; empty ones and those that start with # say nothing):
//   microbatches 2
//   rank 0 stages 0 3: F0.0 F0.1 F1.0 B1.0 W1.0 ...
//   rank 1 stages 1 2: F0.0 F1.0 ...
// `stages` tells where in the model the rank's chunks 0, 1, ... stand. Where two neighbouring
// stages are on one rank (the turn of a V), the tensor is handed over: no message.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/check.h"

namespace tessera {

enum class Op : uint8_t {
  forward,
  backward_input,
  backward_weight,
  send_forward,
  recv_forward,
  send_backward,
  recv_backward,
  gather_weights,
  release_weights
};
inline bool is_compute(Op op) {
  return op <= Op::backward_weight;
}
inline bool is_send(Op op) {
  return op == Op::send_forward || op == Op::send_backward;
}
inline bool is_recv(Op op) {
  return op == Op::recv_forward || op == Op::recv_backward;
}

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

  int num_ranks() const { return static_cast<int>(ranks.size()); }
  int num_stages() const;
  int num_chunks(int rank) const;
  int stage(int rank, int chunk) const;  // REQUIRES 0 <= chunk < num_chunks(rank)
  friend bool operator==(const Plan&, const Plan&) = default;
};

struct StagePlace {
  int rank;
  int chunk;
  friend bool operator==(const StagePlace&, const StagePlace&) = default;
};
// Where each stage stands. Throws Error{blame} unless stages 0..n-1 are placed exactly once.
std::vector<StagePlace> places_of_stages(const Plan& plan, ErrorKind blame = ErrorKind::internal);

// A message of a send or receive: from the stage that makes a tensor to the one that uses it.
struct Message {
  StagePlace from;
  StagePlace to;
  int stage;      // that sends
  bool backward;  // gradients, to the stage before; otherwise activations, to the next one
  int micro;
  friend bool operator==(const Message&, const Message&) = default;
};
// REQUIRES a send or receive that has a neighbour (check_plan).
Message message_of(const Plan& plan, const std::vector<StagePlace>& places, int rank,
                   const Action& action);

std::string to_string(const Action& action);
std::string to_string(const Schedule& schedule);
std::string to_string(const Plan& plan);
// Throw Error{usage} naming the bad word, and the line of a plan.
Schedule parse_schedule(std::string_view text);
Plan parse_plan(std::string_view text);

struct PlanRules {
  bool forward_only = false;  // evaluation: F alone
  int max_live = 0;           // microbatch-chunks that a rank may hold between F and W; 0: any
  ErrorKind blame = ErrorKind::internal;  // usage for a plan that a person wrote
};

// Throws Error{blame} naming rank and action unless
//   each stage 0..n-1 is placed once; every rank has each F, B and W once, in the order F < B < W;
//   the W of a chunk come in increasing microbatch order (which fixes the bits of the gradient:
//   docs/numerics.md); whole weights are gathered before use and released at the end, where the
//   plan gathers at all; and it runs to its end: as compute actions alone whose inputs appear by
//   themselves, or, once it has messages, with every message sent once, received once and before
//   its use, and no deadlock even if every send waited for its receiver.
void check_plan(const Plan& plan, const PlanRules& rules = {});

}  // namespace tessera
