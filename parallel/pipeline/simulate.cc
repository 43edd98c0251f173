// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/simulate.h"

#include <algorithm>
#include <limits>
#include <tuple>

namespace tessera {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

size_t index(int value) {
  return static_cast<size_t>(value);
}

struct Rank {
  double now = 0;
  double first_start = kNever;
  size_t next = 0;  // action
  int live = 0;
  int gathered = 0;
};

class Clock {
 public:
  Clock(const Plan& plan, const std::vector<StageTimes>& times)
      : plan_(plan),
        times_(times),
        places_(places_of_stages(plan)),
        ranks_(plan.ranks.size()),
        activations_(index(plan.num_stages() * plan.num_micro), kNever),
        gradients_(activations_) {
    check(times.size() == places_.size(), "simulate: times for", times.size(), "stages of",
          places_.size());
    for (const Schedule& schedule : plan.ranks)
      for (const Action& action : schedule) {
        has_messages_ = has_messages_ || is_send(action.op);
        has_backward_ = has_backward_ || action.op == Op::backward_weight;
      }
    result_.busy.resize(ranks_.size(), 0);
    result_.peak_live.resize(ranks_.size(), 0);
    result_.peak_gathered.resize(ranks_.size(), 0);
  }

  Simulation run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < plan_.num_ranks(); ++rank)
        while (step(rank)) moved = true;
    }
    for (int rank = 0; rank < plan_.num_ranks(); ++rank) finish(rank);
    std::stable_sort(result_.actions.begin(), result_.actions.end(),
                     [](const TimedAction& a, const TimedAction& b) {
                       return std::tie(a.end, a.rank) < std::tie(b.end, b.rank);
                     });
    return std::move(result_);
  }

 private:
  // When the tensor that `stage` makes of `micro` is where the next action needs it.
  double& arrival(bool backward, int stage, int micro) {
    return (backward ? gradients_ : activations_)[index(stage * plan_.num_micro + micro)];
  }

  bool step(int rank) {
    Rank& state = ranks_[index(rank)];
    const Schedule& schedule = plan_.ranks[index(rank)];
    if (state.next == schedule.size()) return false;
    const Action& action = schedule[state.next];
    const double start = std::max(state.now, ready(rank, action));
    if (start == kNever) return false;
    const double end = start + duration(rank, action);
    result_.actions.push_back({rank, action, start, end});
    account(rank, action, start, end);
    ++state.next;
    return true;
  }

  double ready(int rank, const Action& action) {
    if (action.op != Op::forward && action.op != Op::backward_input) return 0;
    const bool backward = action.op == Op::backward_input;
    const int from = plan_.stage(rank, action.chunk) + (backward ? 1 : -1);
    return from < 0 || from >= plan_.num_stages() ? 0 : arrival(backward, from, action.micro);
  }

  double duration(int rank, const Action& action) const {
    const StageTimes& times = times_[index(plan_.stage(rank, action.chunk))];
    switch (action.op) {
      case Op::forward: return times.forward;
      case Op::backward_input: return times.backward_input;
      case Op::backward_weight: return times.backward_weight;
      case Op::send_forward:
      case Op::send_backward: return times.message;
      case Op::gather_weights: return times.gather_weights;
      default: return 0;
    }
  }

  void account(int rank, const Action& action, double start, double end) {
    Rank& state = ranks_[index(rank)];
    if (is_compute(action.op)) result_.busy[index(rank)] += end - start;
    if (is_compute(action.op)) state.first_start = std::min(state.first_start, start);
    if (!is_send(action.op)) state.now = end;
    const int stage = plan_.stage(rank, action.chunk);
    if (is_send(action.op)) arrival(action.op == Op::send_backward, stage, action.micro) = end;
    if (action.op == Op::forward || action.op == Op::backward_input) {
      const bool backward = action.op == Op::backward_input;
      const int to = stage + (backward ? -1 : 1);
      const bool here = to < 0 || to >= plan_.num_stages() || places_[index(to)].rank == rank;
      if (here || !has_messages_)
        arrival(backward, stage, action.micro) = end + (here ? 0 : times_[index(stage)].message);
    }
    if (has_backward_ && action.op == Op::forward) ++state.live;
    if (action.op == Op::gather_weights) ++state.gathered;
    int& live = result_.peak_live[index(rank)];
    live = std::max(live, state.live);
    int& gathered = result_.peak_gathered[index(rank)];
    gathered = std::max(gathered, state.gathered);
    if (action.op == Op::backward_weight) --state.live;
    if (action.op == Op::release_weights) --state.gathered;
  }

  void finish(int rank) {
    const Rank& state = ranks_[index(rank)];
    const Schedule& schedule = plan_.ranks[index(rank)];
    if (state.next < schedule.size())
      fail(ErrorKind::internal, "simulate: the plan stands still: rank", rank, "waits before",
           to_string(schedule[state.next]));
    result_.makespan = std::max(result_.makespan, state.now);
    if (state.first_start < kNever)
      result_.longest_span = std::max(result_.longest_span, state.now - state.first_start);
  }

  const Plan& plan_;
  const std::vector<StageTimes>& times_;
  std::vector<StagePlace> places_;
  std::vector<Rank> ranks_;
  std::vector<double> activations_;  // by (stage that makes it, micro); kNever: not made yet
  std::vector<double> gradients_;
  bool has_messages_ = false;
  bool has_backward_ = false;
  Simulation result_;
};

}  // namespace

double Simulation::bubble(int rank) const {
  return makespan > 0 ? 1 - busy[index(rank)] / makespan : 0;
}

double Simulation::bubble() const {
  double sum = 0;
  for (const double time : busy) sum += time;
  return makespan > 0 ? 1 - sum / (makespan * static_cast<double>(busy.size())) : 0;
}

Simulation simulate(const Plan& plan, const std::vector<StageTimes>& times) {
  return Clock(plan, times).run();
}

Simulation simulate(const Plan& plan, const StageTimes& times) {
  return simulate(plan, std::vector<StageTimes>(index(plan.num_stages()), times));
}

}  // namespace tessera
