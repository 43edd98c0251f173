// SPDX-License-Identifier: Apache-2.0
// The schedules: sizes in, a plan of F, B and W out (communicate.h adds what moves). In all of them
// the W of a chunk come in increasing microbatch order. How they compare: simulate.h.
#pragma once

#include <span>
#include <string>

#include "parallel/pipeline/schedule.h"

namespace tessera {

// All forwards, then all backwards (Huang et al., "GPipe", arXiv:1811.06965).
Plan gpipe(int num_ranks, int num_micro);

// One forward, one backward (Narayanan et al., "PipeDream-Flush", arXiv:2006.09503), W right after
// B. With one rank: F B W F B W ... = gradient accumulation. Rank r holds num_ranks - r tapes.
Plan one_f_one_b(int num_ranks, int num_micro);

// 1F1B over `chunks` chunks a rank, stage = chunk * num_ranks + rank (Narayanan et al., "Efficient
// Large-Scale Language Model Training on GPU Clusters Using Megatron-LM", arXiv:2104.04473): a
// bubble 1/chunks as long, messages `chunks` times as many.
Plan interleaved(int num_ranks, int chunks, int num_micro);

// Zero bubble (Qi et al., arXiv:2401.10241). H1: 1F1B whose W waits `rank` microbatches, in 1F1B's
// memory of num_ranks tapes. H2: as many forwards as fill the way to the last rank and back, in
// 2 * num_ranks - 1 tapes; no bubble where F = B = W.
Plan zb_h1(int num_ranks, int num_micro);
Plan zb_h2(int num_ranks, int num_micro);

// Two chunks a rank in a V: rank r holds stages r and 2 * num_ranks - 1 - r.
std::vector<std::vector<int>> v_placement(int num_ranks);

// ZB-V (Qi et al., arXiv:2401.10241, section 6): no bubble where F = B = W, in 1F1B's memory of
// 2 * num_ranks tapes of half the size, on every rank.
Plan zb_v(int num_ranks, int num_micro);

// DualPipe cut in half (DeepSeek-V3, arXiv:2412.19437; deepseek-ai/DualPipe). Its [F|B] pairs run
// in sequence here. REQUIRES num_micro >= 2 * num_ranks.
Plan dual_pipe_v(int num_ranks, int num_micro);

// One schedule as a person names it.
struct ScheduleKind {
  const char* name;
  const char* source;          // the paper
  const char* needs;           // in words
  int chunks;                  // per rank; 0: any number from 2
  int (*least)(int ranks);     // microbatches
  int (*multiple)(int ranks);  // the number of microbatches is a multiple of this
  Plan (*make)(int num_ranks, int chunks, int num_micro);
};
std::span<const ScheduleKind> schedule_kinds();

// Whether a kind, by name, can be made of so many microbatches. Throws as make_plan() does where
// there is no such kind.
bool allows(const std::string& name, int num_ranks, int num_micro);

// The plan of a kind, by name. chunks: per rank; 0: the kind's own (2 where it is free).
// Throws Error{usage} that names the known kinds, the chunks, or the nearest numbers of
// microbatches that the kind allows.
Plan make_plan(const std::string& name, int num_ranks, int chunks, int num_micro);

}  // namespace tessera
