// SPDX-License-Identifier: Apache-2.0
// The greedy scheduler that the authors of ZB-V describe and use (Qi et al., arXiv:2401.10241,
// section 6; sail-sg/zero-bubble-pipeline-parallelism), for F = B = W and free messages. A pass
// goes down the ranks and up again, forward and backward alike: leg 0 is the way from rank 0 to the
// last, leg 1 the way back. Rounds of one backward and one forward a rank are put one after another
// as early as they can run; a rank that would idle for longer than the idlest one so far runs a
// weight half instead.
#include <algorithm>
#include <deque>
#include <optional>

#include "parallel/pipeline/generators.h"

namespace tessera {
namespace {

constexpr int kLegs = 2;
constexpr int kUnit = 1;  // time of any action

struct Choice {
  bool before_forward, before_backward;  // a weight half rather than a short idle time
};

struct Attempt {
  std::vector<Schedule> ranks;
  std::vector<int> idle;  // by rank, since its first action
  int idlest() const { return *std::max_element(idle.begin(), idle.end()); }
};

class Builder {
 public:
  // allowed: the idle times of an attempt before, which this one need not undercut; or empty.
  Builder(int num_ranks, int num_micro, Choice choice, const std::vector<int>& allowed)
      : num_ranks_(num_ranks),
        num_micro_(num_micro),
        choice_(choice),
        allowed_(allowed),
        ranks_(static_cast<size_t>(num_ranks)),
        ends_(static_cast<size_t>(2 * kLegs * num_ranks * num_micro), -1) {}

  Attempt build() {
    first_forwards();
    even_out_forwards();
    for (int round = 0; round < kLegs * num_micro_; ++round) {
      backward_round();
      forward_round();
    }
    Attempt attempt;
    for (int rank = 0; rank < num_ranks_; ++rank) {
      while (!at(rank).owed.empty()) put_weight(rank);
      attempt.ranks.push_back(std::move(at(rank).schedule));
      attempt.idle.push_back(at(rank).idle);
    }
    return attempt;
  }

 private:
  struct Rank {
    int forwards[kLegs] = {};
    int backwards[kLegs] = {};
    int now = 0;
    int idle = 0;
    int live = 0;             // between F and W
    std::deque<Action> owed;  // weight halves
    Schedule schedule;
  };

  Rank& at(int rank) { return ranks_[static_cast<size_t>(rank)]; }
  int max_live() const { return kLegs * num_ranks_; }  // what 1F1B holds on rank 0

  int& end(bool backward, int leg, int rank, int micro) {
    const int row = ((backward ? kLegs : 0) + leg) * num_ranks_ + rank;
    return ends_[static_cast<size_t>(row * num_micro_ + micro)];
  }

  // When the action before on the same leg ended; -1: not yet; none: the leg starts on this rank.
  std::optional<int> arrival(bool backward, int leg, int rank) {
    const int from = leg == 0 ? rank - 1 : rank + 1;
    if (from < 0 || from == num_ranks_) return std::nullopt;
    const Rank& state = at(rank);
    const int micro = backward ? state.backwards[leg] : state.forwards[leg];
    return micro < num_micro_ ? end(backward, leg, from, micro) : -1;
  }

  void put(bool backward, int leg, int rank) {
    Rank& state = at(rank);
    const std::optional<int> input = arrival(backward, leg, rank);
    int& micro = (backward ? state.backwards : state.forwards)[leg];
    check(input != -1 && micro < num_micro_ && (backward || state.live < max_live()),
          "zb_v: the order of rounds broke on rank", rank);
    const int wait = std::max(0, input.value_or(0) - state.now);
    if (!state.schedule.empty()) state.idle += wait;
    state.now += wait + kUnit;
    end(backward, leg, rank, micro) = state.now;
    const int chunk = backward ? 1 - leg : leg;
    state.schedule.push_back({backward ? Op::backward_input : Op::forward, chunk, micro});
    if (backward)
      state.owed.push_back({Op::backward_weight, chunk, micro});
    else
      ++state.live;
    ++micro;
  }

  void put_weight(int rank) {
    Rank& state = at(rank);
    check(!state.owed.empty(), "zb_v: no weight half to run on rank", rank);
    state.schedule.push_back(state.owed.front());
    state.owed.pop_front();
    state.now += kUnit;
    --state.live;
  }

  // How long rank may have idled without making the step longer.
  int bearable(int rank) const {
    int worst = 0;
    for (const Rank& state : ranks_) worst = std::max(worst, state.idle);
    if (allowed_.empty()) return worst;
    const int idlest = *std::max_element(allowed_.begin(), allowed_.end());
    return std::max(worst, idlest - allowed_[static_cast<size_t>(rank)]);
  }

  // Fills the time until the input of an action is there with weight halves, then puts it.
  void fill_and_put(bool backward, int leg, int rank, bool fill_part) {
    Rank& state = at(rank);
    if (const std::optional<int> input = arrival(backward, leg, rank)) {
      while (!state.owed.empty() && *input >= state.now + kUnit) put_weight(rank);
      const bool idles = *input - state.now > bearable(rank) - state.idle;
      if (!state.owed.empty() && idles && fill_part) put_weight(rank);
    }
    put(backward, leg, rank);
  }

  // Until the first microbatch is back on a rank, there is time for further ones.
  void first_forwards() {
    for (int rank = 0; rank < num_ranks_; ++rank) put(false, 0, rank);
    for (int rank = num_ranks_; rank-- > 0;) {
      const std::optional<int> back = arrival(false, 1, rank);
      while (back && at(rank).live + 2 + 2 * rank <= max_live() && at(rank).now + kUnit <= *back &&
             at(rank).forwards[0] < num_micro_)
        for (int above = 0; above <= rank; ++above) put(false, 0, above);
      put(false, 1, rank);
    }
  }

  // Gives lower ranks as many forwards as the rank above has.
  void even_out_forwards() {
    int leg = 0;
    for (int rank = 1; rank < num_ranks_; ++rank) {
      const auto behind = [&] {
        const int* mine = at(rank).forwards;
        const int* above = at(rank - 1).forwards;
        return mine[0] + mine[1] < above[0] + above[1] ||
               (mine[1] <= above[1] && above[1] < num_micro_);
      };
      for (; behind(); leg = 1 - leg)
        for (int below = num_ranks_; below-- > rank;)
          if (at(below).forwards[leg] < num_micro_) put(false, leg, below);
    }
  }

  void backward_round() {
    std::vector<int> upward, downward;  // ranks, by the leg that is next
    for (int rank = 0; rank < num_ranks_; ++rank) {
      const Rank& state = at(rank);
      const bool behind = state.backwards[1] < state.backwards[0];
      const bool ready = arrival(true, 1, rank).value_or(0) >= 0;
      const bool must = state.backwards[0] >= num_micro_;
      (behind && (ready || must) ? upward : downward).push_back(rank);
    }
    std::reverse(upward.begin(), upward.end());
    for (const int rank : upward) fill_and_put(true, 1, rank, true);
    for (const int rank : downward) fill_and_put(true, 0, rank, choice_.before_backward);
  }

  // The leg of the next forward; none when nothing can run.
  std::optional<int> next_forward(int rank) {
    const Rank& state = at(rank);
    if (state.forwards[1] >= num_micro_) return std::nullopt;
    if (state.forwards[1] >= state.forwards[0]) return 0;
    if (arrival(false, 1, rank).value_or(0) >= 0) return 1;
    if (state.forwards[0] < num_micro_ && arrival(false, 0, rank).value_or(0) >= 0) return 0;
    return std::nullopt;
  }

  void forward_round() {
    for (int rank = 0; rank < num_ranks_; ++rank) {
      const std::optional<int> leg = next_forward(rank);
      if (!leg) continue;
      while (at(rank).live >= max_live()) put_weight(rank);
      fill_and_put(false, *leg, rank, choice_.before_forward);
    }
  }

  int num_ranks_;
  int num_micro_;
  Choice choice_;
  const std::vector<int>& allowed_;
  std::vector<Rank> ranks_;
  std::vector<int> ends_;  // by (pass, leg, rank, micro); -1: not put yet
};

// Again and again, each time allowing the idle times of the time before, while that helps.
Attempt best_of(int num_ranks, int num_micro, Choice choice) {
  Attempt best = Builder(num_ranks, num_micro, choice, {}).build();
  for (;;) {
    Attempt next = Builder(num_ranks, num_micro, choice, best.idle).build();
    if (next.idlest() >= best.idlest()) return best;
    best = std::move(next);
  }
}

}  // namespace

Plan zb_v(int num_ranks, int num_micro) {
  // The rounds need enough microbatches to fill the V; of fewer, the rest is left out again.
  const int enough = std::max(num_micro, 2 * num_ranks);
  std::optional<Attempt> best;
  for (const bool before_backward : {true, false})
    for (const bool before_forward : {true, false}) {
      Attempt attempt = best_of(num_ranks, enough, {before_forward, before_backward});
      if (!best || attempt.idlest() < best->idlest()) best = std::move(attempt);
    }
  Plan plan{num_micro, std::move(best->ranks), v_placement(num_ranks)};
  for (Schedule& schedule : plan.ranks)
    std::erase_if(schedule, [&](const Action& action) { return action.micro >= num_micro; });
  return plan;
}

}  // namespace tessera
