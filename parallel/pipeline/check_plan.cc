// SPDX-License-Identifier: Apache-2.0
// check_plan: first each rank by itself, then all of them together.
#include <algorithm>

#include "parallel/pipeline/schedule.h"

namespace tessera {
namespace {

size_t index(int value) {
  return static_cast<size_t>(value);
}

// For a refusal only: a plan of many microbatches has a hundred thousand actions.
std::string describe(int rank, const Action& action) {
  return "plan: rank " + std::to_string(rank) + ", " + to_string(action);
}

// What one rank's list says about its own chunks.
class RankCheck {
 public:
  RankCheck(const Plan& plan, const PlanRules& rules, int rank)
      : plan_(plan),
        rules_(rules),
        rank_(rank),
        progress_(index(plan.num_chunks(rank) * plan.num_micro), 0),
        next_weight_(index(plan.num_chunks(rank)), 0),
        whole_(index(plan.num_chunks(rank)), false) {
    for (const Action& action : plan.ranks[index(rank)])
      gathers_ = gathers_ || action.op == Op::gather_weights;
  }

  void check_all() {
    for (const Action& action : plan_.ranks[index(rank_)]) {
      require(action.chunk >= 0 && action.chunk < plan_.num_chunks(rank_) && action.micro >= 0 &&
                  action.micro < plan_.num_micro,
              action, "is outside the plan");
      if (is_compute(action.op)) check_compute(action);
      if (action.op == Op::gather_weights || action.op == Op::release_weights)
        check_weights(action);
    }
    const int finished = rules_.forward_only ? 1 : 3;
    check(
        std::all_of(progress_.begin(), progress_.end(), [&](int step) { return step == finished; }),
        rules_.blame, "plan: rank", rank_, "does not finish every microbatch");
    check(std::find(whole_.begin(), whole_.end(), true) == whole_.end(), rules_.blame, "plan: rank",
          rank_, "does not release the weights it gathered");
  }

 private:
  void require(bool condition, const Action& action, const char* sentence) const {
    if (!condition) fail(rules_.blame, describe(rank_, action), sentence);
  }

  void check_compute(const Action& action) {
    int& step = progress_[index(action.chunk * plan_.num_micro + action.micro)];
    require(step == static_cast<int>(action.op), action, "comes twice or before its time");
    ++step;
    require(!rules_.forward_only || action.op == Op::forward, action,
            "has no place in an evaluation");
    if (action.op == Op::backward_weight)
      require(next_weight_[index(action.chunk)]++ == action.micro, action,
              "breaks the increasing microbatch order of weight gradients");
    else
      require(!gathers_ || whole_[index(action.chunk)], action, "has not gathered its weights");
    live_ += action.op == Op::forward ? 1 : action.op == Op::backward_weight ? -1 : 0;
    if (rules_.max_live > 0 && live_ > rules_.max_live)
      fail(rules_.blame, describe(rank_, action), "makes", live_,
           "live microbatches, but the bound is", rules_.max_live);
  }

  void check_weights(const Action& action) {
    const bool gather = action.op == Op::gather_weights;
    require(whole_[index(action.chunk)] != gather, action,
            gather ? "gathers weights that are already whole" : "releases weights not gathered");
    whole_[index(action.chunk)] = gather;
  }

  const Plan& plan_;
  const PlanRules& rules_;
  int rank_;
  bool gathers_ = false;
  std::vector<int> progress_;     // by (chunk, micro): 0 nothing, 1 after F, 2 after B, 3 after W
  std::vector<int> next_weight_;  // by chunk
  std::vector<bool> whole_;       // by chunk: weights gathered
  int live_ = 0;
};

// All ranks together, as if every send waited for its receiver.
class Walk {
 public:
  Walk(const Plan& plan, const PlanRules& rules)
      : plan_(plan),
        rules_(rules),
        places_(places_of_stages(plan, rules.blame)),
        next_(plan.ranks.size(), 0),
        activations_(index(plan.num_stages() * plan.num_micro), 0),
        gradients_(activations_) {
    for (const Schedule& schedule : plan.ranks)
      for (const Action& action : schedule)
        has_messages_ = has_messages_ || is_send(action.op) || is_recv(action.op);
  }

  void to_the_end() {
    for (bool moved = true; moved;) {
      moved = false;
      for (int rank = 0; rank < plan_.num_ranks(); ++rank)
        while (const Action* action = current(rank)) {
          if (!advance(rank, *action)) break;
          moved = true;
        }
    }
    for (int rank = 0; rank < plan_.num_ranks(); ++rank)
      if (const Action* action = current(rank))
        fail(rules_.blame, describe(rank, *action) + " can never run: " + others(rank));
  }

 private:
  // A tensor that crosses the boundary after `stage`: made, sent, arrived. By backward, counted
  // from the stage that makes it.
  enum State { absent, made, sent, arrived };

  const Action* current(int rank) const {
    const Schedule& schedule = plan_.ranks[index(rank)];
    return next_[index(rank)] < schedule.size() ? &schedule[next_[index(rank)]] : nullptr;
  }

  int& state(bool backward, int stage, int micro) {
    return (backward ? gradients_ : activations_)[index(stage * plan_.num_micro + micro)];
  }

  bool advance(int rank, const Action& action) {
    if (is_recv(action.op)) {
      check_message(rank, action);
      return false;  // moves together with its send
    }
    if (is_send(action.op)) return meet(rank, action);
    if (action.op == Op::forward || action.op == Op::backward_input) {
      const bool backward = action.op == Op::backward_input;
      const int stage = plan_.stage(rank, action.chunk), from = stage + (backward ? 1 : -1);
      if (from >= 0 && from < plan_.num_stages()) {
        const bool by_itself = !has_messages_ || places_[index(from)].rank == rank;
        if (state(backward, from, action.micro) < (by_itself ? made : arrived)) return false;
      }
      state(backward, stage, action.micro) = made;
    }
    ++next_[index(rank)];
    return true;
  }

  // A send advances both ranks when its receiver stands at the receive.
  bool meet(int rank, const Action& action) {
    const Message message = check_message(rank, action);
    int& tensor = state(message.backward, message.stage, message.micro);
    if (tensor < made) fail(rules_.blame, describe(rank, action), "sends what is not made yet");
    if (tensor >= sent) fail(rules_.blame, describe(rank, action), "comes twice");
    const Action* other = current(message.to.rank);
    if (!other || !is_recv(other->op) || !(check_message(message.to.rank, *other) == message))
      return false;
    tensor = arrived;
    ++next_[index(rank)];
    ++next_[index(message.to.rank)];
    return true;
  }

  Message check_message(int rank, const Action& action) const {
    const int stage = plan_.stage(rank, action.chunk);
    const bool up = action.op == Op::send_forward || action.op == Op::recv_backward;
    const int other = stage + (up ? 1 : -1);
    if (other < 0 || other >= plan_.num_stages())
      fail(rules_.blame, describe(rank, action), "has no neighbour: it is of the model's",
           up ? "last stage" : "first stage");
    if (places_[index(other)].rank == rank)
      fail(rules_.blame, describe(rank, action), "is a message of the rank to itself");
    return message_of(plan_, places_, rank, action);
  }

  std::string others(int blocked) const {
    std::string text;
    for (int rank = 0; rank < plan_.num_ranks(); ++rank) {
      if (rank == blocked) continue;
      const Action* action = current(rank);
      text += (text.empty() ? "" : ", ") + std::string("rank ") + std::to_string(rank) +
              (action ? " stands at " + to_string(*action) : " is at its end");
    }
    return text.empty() ? "its input never comes" : text;
  }

  const Plan& plan_;
  const PlanRules& rules_;
  std::vector<StagePlace> places_;
  std::vector<size_t> next_;      // by rank
  std::vector<int> activations_;  // State by (stage that makes it, micro)
  std::vector<int> gradients_;
  bool has_messages_ = false;
};

}  // namespace

void check_plan(const Plan& plan, const PlanRules& rules) {
  places_of_stages(plan, rules.blame);
  check(plan.num_micro > 0, rules.blame, "plan: no microbatches");
  for (int rank = 0; rank < plan.num_ranks(); ++rank) {
    const int64_t least = int64_t{plan.num_chunks(rank)} * plan.num_micro;
    check(least <= static_cast<int64_t>(plan.ranks[index(rank)].size()), rules.blame, "plan: rank",
          rank, "does not finish every microbatch");  // before anything is that large
    RankCheck(plan, rules, rank).check_all();
  }
  Walk(plan, rules).to_the_end();
}

}  // namespace tessera
