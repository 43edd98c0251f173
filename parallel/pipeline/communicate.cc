// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/communicate.h"

#include <algorithm>

#include "parallel/pipeline/simulate.h"

namespace tessera {
namespace {

size_t index(int value) {
  return static_cast<size_t>(value);
}

bool is_its_weight_half(const Action& backward, const Action& next) {
  return backward.op == Op::backward_input &&
         next == Action{Op::backward_weight, backward.chunk, backward.micro};
}

// Appends to every rank's list in the order of one clock.
class MessageInserter {
 public:
  explicit MessageInserter(const Plan& plan)
      : plan_(plan),
        places_(places_of_stages(plan)),
        out_{plan.num_micro, std::vector<Schedule>(plan.ranks.size()), plan.stage_of_chunk},
        taken_(plan.ranks.size(), 0) {}

  // The next action of `rank`, and what it sends.
  void take(int rank) {
    const Schedule& in = plan_.ranks[index(rank)];
    size_t& next = taken_[index(rank)];
    const Action& action = in[next++];
    out_.ranks[index(rank)].push_back(action);
    const bool sent = send(rank, action);
    if (!sent && next < in.size() && is_its_weight_half(action, in[next])) take(rank);
  }
  bool has_taken(int rank, size_t count) const { return taken_[index(rank)] >= count; }
  Plan result() { return std::move(out_); }

 private:
  bool send(int rank, const Action& action) {
    if (action.op != Op::forward && action.op != Op::backward_input) return false;
    const bool backward = action.op == Op::backward_input;
    const int to = plan_.stage(rank, action.chunk) + (backward ? -1 : 1);
    if (to < 0 || to >= plan_.num_stages() || places_[index(to)].rank == rank) return false;
    const StagePlace& peer = places_[index(to)];
    out_.ranks[index(rank)].push_back(
        {backward ? Op::send_backward : Op::send_forward, action.chunk, action.micro});
    out_.ranks[index(peer.rank)].push_back(
        {backward ? Op::recv_backward : Op::recv_forward, peer.chunk, action.micro});
    return true;
  }

  const Plan& plan_;
  std::vector<StagePlace> places_;
  Plan out_;
  std::vector<size_t> taken_;  // by rank: actions already appended
};

// One rank's list with gathers and releases.
class WeightGatherer {
 public:
  WeightGatherer(const Schedule& in, int max_whole) : in_(in), max_whole_(max_whole) {}

  Schedule run() {
    for (size_t at = 0; at < in_.size(); ++at) {
      const Action& action = in_[at];
      if (needs_weights(action))
        make_whole(action, at);
      else if (is_compute(action.op) && !is_its_weight_half(last_use_, action))
        drop_useless(at);
      out_.push_back(action);
    }
    drop_useless(in_.size());
    return std::move(out_);
  }

 private:
  static bool needs_weights(const Action& action) {
    return action.op == Op::forward || action.op == Op::backward_input;
  }

  size_t next_use(int chunk, size_t from) const {
    while (from < in_.size() && !(needs_weights(in_[from]) && in_[from].chunk == chunk)) ++from;
    return from;
  }

  void make_whole(const Action& action, size_t at) {
    drop_useless(at);
    last_use_ = action;
    for (Action& gather : whole_)
      if (gather.chunk == action.chunk) {
        gather.micro = action.micro;
        return;
      }
    if (static_cast<int>(whole_.size()) == max_whole_)
      release(std::max_element(whole_.begin(), whole_.end(), [&](const auto& a, const auto& b) {
        return next_use(a.chunk, at) < next_use(b.chunk, at);
      }));
    whole_.push_back({Op::gather_weights, action.chunk, action.micro});
    out_.push_back(whole_.back());
  }

  // Lets go of chunks that no action from `at` on needs.
  void drop_useless(size_t at) {
    for (auto gather = whole_.begin(); gather != whole_.end();)
      gather = next_use(gather->chunk, at) == in_.size() ? release(gather) : gather + 1;
  }

  std::vector<Action>::iterator release(std::vector<Action>::iterator gather) {
    out_.push_back({Op::release_weights, gather->chunk, gather->micro});
    return whole_.erase(gather);
  }

  const Schedule& in_;
  int max_whole_;
  Schedule out_;
  std::vector<Action> whole_;  // their gathers, with the microbatch that used them last
  Action last_use_{Op::release_weights, 0, 0};
};

template <typename Is>
void check_absent(const Plan& plan, Is&& is) {
  for (int rank = 0; rank < plan.num_ranks(); ++rank)
    for (const Action& action : plan.ranks[index(rank)])
      check(!is(action.op), ErrorKind::usage, "plan: rank", rank, "already has",
            to_string(action) + ": leave what moves to the trainer, write F, B and W alone");
}

}  // namespace

Plan with_messages(const Plan& plan) {
  check_absent(plan, [](Op op) { return is_send(op) || is_recv(op); });
  MessageInserter inserter(plan);
  std::vector<size_t> seen(plan.ranks.size(), 0);
  for (const TimedAction& timed : simulate(plan).actions)
    if (!inserter.has_taken(timed.rank, ++seen[index(timed.rank)])) inserter.take(timed.rank);
  return inserter.result();
}

Plan with_weight_gathers(const Plan& plan, int max_whole) {
  check(max_whole > 0, "with_weight_gathers: no room for a chunk");
  check_absent(plan, [](Op op) { return op == Op::gather_weights || op == Op::release_weights; });
  Plan out{plan.num_micro, {}, plan.stage_of_chunk};
  for (const Schedule& schedule : plan.ranks)
    out.ranks.push_back(WeightGatherer(schedule, max_whole).run());
  return out;
}

Plan forward_plan(const std::vector<std::vector<int>>& stage_of_chunk, int num_micro) {
  Plan plan{num_micro, std::vector<Schedule>(stage_of_chunk.size()), stage_of_chunk};
  const std::vector<StagePlace> places = places_of_stages(plan);
  for (int first = 0; first < num_micro; first += plan.num_ranks())
    for (const StagePlace& place : places)
      for (int micro = first; micro < std::min(first + plan.num_ranks(), num_micro); ++micro)
        plan.ranks[index(place.rank)].push_back({Op::forward, place.chunk, micro});
  return with_messages(plan);
}

}  // namespace tessera
