// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/generators.h"

#include <algorithm>

namespace tessera {
namespace {

// Rank r holds chunk c as stage c * num_ranks + r.
Plan empty_plan(int num_ranks, int chunks, int num_micro) {
  Plan plan{num_micro, std::vector<Schedule>(static_cast<size_t>(num_ranks)), {}};
  for (int rank = 0; rank < num_ranks; ++rank) {
    plan.stage_of_chunk.emplace_back();
    for (int chunk = 0; chunk < chunks; ++chunk)
      plan.stage_of_chunk.back().push_back(chunk * num_ranks + rank);
  }
  return plan;
}

// `warmup` forwards, then B and F in turn; the W of a microbatch comes `delay` microbatches later.
Schedule in_turn(int num_micro, int warmup, int delay) {
  Schedule schedule;
  int forwards = 0, weights = 0;
  const auto forward = [&] {
    if (forwards < num_micro) schedule.push_back({Op::forward, 0, forwards++});
  };
  for (int micro = 0; micro < warmup; ++micro) forward();
  for (int micro = 0; micro < num_micro; ++micro) {
    schedule.push_back({Op::backward_input, 0, micro});
    if (micro >= delay) schedule.push_back({Op::backward_weight, 0, weights++});
    forward();
  }
  while (weights < num_micro) schedule.push_back({Op::backward_weight, 0, weights++});
  return schedule;
}

}  // namespace

Plan gpipe(int num_ranks, int num_micro) {
  Plan plan = empty_plan(num_ranks, 1, num_micro);
  for (Schedule& schedule : plan.ranks) schedule = in_turn(num_micro, num_micro, 0);
  return plan;
}

Plan one_f_one_b(int num_ranks, int num_micro) {
  Plan plan = empty_plan(num_ranks, 1, num_micro);
  for (int rank = 0; rank < num_ranks; ++rank)
    plan.ranks[static_cast<size_t>(rank)] = in_turn(num_micro, num_ranks - rank, 0);
  return plan;
}

Plan zb_h1(int num_ranks, int num_micro) {
  Plan plan = empty_plan(num_ranks, 1, num_micro);
  for (int rank = 0; rank < num_ranks; ++rank)
    plan.ranks[static_cast<size_t>(rank)] = in_turn(num_micro, num_ranks - rank, rank);
  return plan;
}

Plan zb_h2(int num_ranks, int num_micro) {
  Plan plan = empty_plan(num_ranks, 1, num_micro);
  for (int rank = 0; rank < num_ranks; ++rank)
    plan.ranks[static_cast<size_t>(rank)] =
        in_turn(num_micro, 2 * (num_ranks - rank) - 1, 2 * rank);
  return plan;
}

// Microbatches go in groups of num_ranks: chunk 0 of the whole group, chunk 1, ...; backward the
// same with the chunks reversed (Megatron's get_schedule_table).
Plan interleaved(int num_ranks, int chunks, int num_micro) {
  Plan plan = empty_plan(num_ranks, chunks, num_micro);
  const int group = num_ranks * chunks, total = num_micro * chunks;
  for (int rank = 0; rank < num_ranks; ++rank) {
    Schedule& schedule = plan.ranks[static_cast<size_t>(rank)];
    const auto chunk_of = [&](int turn) { return turn % group / num_ranks; };
    const auto micro_of = [&](int turn) { return turn / group * num_ranks + turn % num_ranks; };
    int forwards = 0;
    const auto forward = [&] {
      if (forwards < total)
        schedule.push_back({Op::forward, chunk_of(forwards), micro_of(forwards)});
      ++forwards;
    };
    const int warmup = 2 * (num_ranks - rank - 1) + (chunks - 1) * num_ranks + 1;
    while (forwards < warmup) forward();
    for (int turn = 0; turn < total; ++turn) {
      const int chunk = chunks - 1 - chunk_of(turn);
      schedule.push_back({Op::backward_input, chunk, micro_of(turn)});
      schedule.push_back({Op::backward_weight, chunk, micro_of(turn)});
      forward();
    }
  }
  return plan;
}

namespace {

int one(int) {
  return 1;
}
int as_many_as_ranks(int ranks) {
  return ranks;
}
int twice_the_ranks(int ranks) {
  return 2 * ranks;
}

const ScheduleKind kKinds[] = {
    {"gpipe", "GPipe, arXiv:1811.06965", "any number of microbatches, all remembered", 1, one, one,
     [](int ranks, int, int micros) { return gpipe(ranks, micros); }},
    {"1f1b", "PipeDream-Flush, arXiv:2006.09503", "any number of microbatches", 1, one, one,
     [](int ranks, int, int micros) { return one_f_one_b(ranks, micros); }},
    {"interleaved", "Megatron-LM, arXiv:2104.04473", "microbatches in multiples of the ranks", 0,
     as_many_as_ranks, as_many_as_ranks, interleaved},
    {"zb_h1", "Zero Bubble, arXiv:2401.10241", "any number of microbatches", 1, one, one,
     [](int ranks, int, int micros) { return zb_h1(ranks, micros); }},
    {"zb_h2", "Zero Bubble, arXiv:2401.10241", "any number of microbatches, twice 1F1B's memory", 1,
     one, one, [](int ranks, int, int micros) { return zb_h2(ranks, micros); }},
    {"zb_v", "Zero Bubble, arXiv:2401.10241", "any number of microbatches", 2, one, one,
     [](int ranks, int, int micros) { return zb_v(ranks, micros); }},
    {"dualpipe_v", "DeepSeek-V3, arXiv:2412.19437", "at least twice as many microbatches as ranks",
     2, twice_the_ranks, one,
     [](int ranks, int, int micros) { return dual_pipe_v(ranks, micros); }},
};

const ScheduleKind& kind_of(const std::string& name) {
  std::string known;
  for (const ScheduleKind& kind : kKinds) {
    if (name == kind.name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(kind.name);
  }
  fail(ErrorKind::usage, "pipeline schedule '" + name + "' is not known; known are " + known);
}

bool allows(const ScheduleKind& kind, int num_ranks, int num_micro) {
  return num_micro >= kind.least(num_ranks) && num_micro % kind.multiple(num_ranks) == 0;
}

void check_micros(const ScheduleKind& kind, int num_ranks, int num_micro) {
  const int least = kind.least(num_ranks), multiple = kind.multiple(num_ranks);
  if (allows(kind, num_ranks, num_micro)) return;
  const int below = num_micro / multiple * multiple;
  std::string nearest = std::to_string(std::max(least, below + multiple));
  if (below >= least) nearest = std::to_string(below) + " or " + nearest;
  fail(ErrorKind::usage, std::string("pipeline schedule ") + kind.name + " over " +
                             std::to_string(num_ranks) + " ranks needs " + kind.needs + ": " +
                             std::to_string(num_micro) + " cannot be, nearest is " + nearest);
}

}  // namespace

std::span<const ScheduleKind> schedule_kinds() {
  return kKinds;
}

bool allows(const std::string& name, int num_ranks, int num_micro) {
  return allows(kind_of(name), num_ranks, num_micro);
}

Plan make_plan(const std::string& name, int num_ranks, int chunks, int num_micro) {
  check(num_ranks > 0, "make_plan: no ranks");
  const ScheduleKind& kind = kind_of(name);
  if (chunks == 0) chunks = kind.chunks == 0 ? 2 : kind.chunks;
  const bool allowed = kind.chunks == 0 ? chunks >= 2 : chunks == kind.chunks;
  const std::string has = kind.chunks == 0 ? "2 or more" : std::to_string(kind.chunks);
  check(allowed, ErrorKind::usage, "pipeline schedule " + name + " takes " + has,
        "model chunks a rank, not", chunks);
  check_micros(kind, num_ranks, num_micro);
  return kind.make(num_ranks, chunks, num_micro);
}

}  // namespace tessera
