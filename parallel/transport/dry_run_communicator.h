// SPDX-License-Identifier: Apache-2.0
// Pretends to be one rank of a group that is not there: checks every argument as a real transport
// does, notes every call, and moves nothing, so each rank of a grid of thousands can be played in
// one process. Results are as if the other ranks had zeros and this one had everything asked of it:
// a reduction is my part of `in`, what another rank would have sent is zeros, a broadcast leaves
// its tensor alone, a barrier is passed. An all-gather alone finds on the others what I have, where
// parts are of equal size: ranks that tell each other their numbers of rows are alike.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace tessera {

struct DryCall {
  std::string group;
  std::string operation;  // "all-reduce", "reduce-scatter", "send", ...
  std::string tag;
  int64_t bytes;           // of the whole tensor
  std::vector<int> peers;  // ranks of the grid that this rank sends to or receives from
  friend bool operator==(const DryCall&, const DryCall&) = default;
};
using DryCalls = std::vector<DryCall>;

// ranks: the group's, in order; `rank` is among them. Calls are appended to *calls.
std::unique_ptr<Communicator> dry_run_communicator(std::vector<int> ranks, int rank,
                                                   std::string label,
                                                   std::shared_ptr<DryCalls> calls);

}  // namespace tessera
