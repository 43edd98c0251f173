// SPDX-License-Identifier: Apache-2.0
// Passes that complete a plan of F, B and W alone with what moves between ranks.
//
//   const Plan plan = with_messages(make_plan("1f1b", 4, 1, 8));
#pragma once

#include "parallel/pipeline/schedule.h"

namespace tessera {

// Adds every send and receive. Ranks are simulated in time order; each message is put where its
// tensor is made, into both ranks' lists, so that the lists are projections of one total order: no
// deadlock, even with sends that wait for their receivers. Where nothing is sent after a B, a W
// directly behind it stays there (the two run as one backward).
// Throws Error{usage} when the plan has messages already (a person may have written it), and
// Error{internal} when it does not come to its end.
Plan with_messages(const Plan& plan);

// ZeRO-3: gathers a chunk's whole weights before the F and B that need them and lets go of them
// when their room is needed, so that at most `max_whole` chunks of a rank are whole at a time: the
// one to go is the one that is needed last. 1: gathered once for each run of actions of a chunk.
// Before or after with_messages. Throws Error{usage} when the plan gathers already.
Plan with_weight_gathers(const Plan& plan, int max_whole = 1);

// Forward alone, for evaluation, messages included: groups of as many microbatches as there are
// ranks go through the stages of a placement one after another.
Plan forward_plan(const std::vector<std::vector<int>>& stage_of_chunk, int num_micro);

}  // namespace tessera
