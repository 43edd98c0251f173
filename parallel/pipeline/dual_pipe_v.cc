// SPDX-License-Identifier: Apache-2.0
// DualPipeV (DeepSeek-V3 Technical Report, arXiv:2412.19437, section 3.2.1; cut in half as in
// deepseek-ai/DualPipe): the eight steps of a rank, each a number of times. Chunk 0 goes down the
// ranks, chunk 1 up again. A forward and a backward that a GPU overlaps run one after the other.
#include <deque>

#include "parallel/pipeline/generators.h"

namespace tessera {
namespace {

class RankSteps {
 public:
  RankSteps(int num_ranks, int rank, int num_micro)
      : below_(num_ranks - rank - 1), rank_(rank), num_micro_(num_micro) {}

  Schedule run() {
    const int above = rank_ + 1, main = num_micro_ - 2 * (below_ + above) + above;
    times(2 * below_, [&](int) { forward(0); });
    times(above, [&](int) { forward(0), forward(1); });
    times(below_, [&](int) { late_backward(1), weight(), forward(1); });
    times(main, [&](int) { forward(0), backward(1), forward(1), backward(0); });
    times(below_, [&](int) { backward(1), forward(1), backward(0); });
    times(above, [&](int i) { closing_pair(i, above / 2); });
    times(below_, [&](int) { weight(), late_backward(0); });
    times(above, [&](int) { weight(); });
    return std::move(schedule_);
  }

 private:
  template <typename Step>
  static void times(int count, Step&& step) {
    for (int i = 0; i < count; ++i) step(i);
  }
  void forward(int chunk) { schedule_.push_back({Op::forward, chunk, forwards_[chunk]++}); }
  void backward(int chunk) {
    late_backward(chunk);
    schedule_.push_back(owed_.back());
    owed_.pop_back();
  }
  void late_backward(int chunk) {  // its weight half is owed
    const int micro = backwards_[chunk]++;
    schedule_.push_back({Op::backward_input, chunk, micro});
    owed_.push_back({Op::backward_weight, chunk, micro});
  }
  void weight() {  // the oldest
    schedule_.push_back(owed_.front());
    owed_.pop_front();
  }
  // From the middle on, weight halves wait: odd ranks start with chunk 1, even ones with chunk 0.
  void closing_pair(int i, int middle) {
    const bool late1 = i > middle || (i == middle && rank_ % 2 == 1), late0 = i >= middle;
    late1 ? late_backward(1) : backward(1);
    late0 ? late_backward(0) : backward(0);
  }

  int below_;  // ranks after this one
  int rank_;
  int num_micro_;
  int forwards_[2] = {};
  int backwards_[2] = {};
  std::deque<Action> owed_;
  Schedule schedule_;
};

}  // namespace

std::vector<std::vector<int>> v_placement(int num_ranks) {
  std::vector<std::vector<int>> placement;
  for (int rank = 0; rank < num_ranks; ++rank)
    placement.push_back({rank, 2 * num_ranks - 1 - rank});
  return placement;
}

Plan dual_pipe_v(int num_ranks, int num_micro) {
  Plan plan{num_micro, {}, v_placement(num_ranks)};
  for (int rank = 0; rank < num_ranks; ++rank)
    plan.ranks.push_back(RankSteps(num_ranks, rank, num_micro).run());
  return plan;
}

}  // namespace tessera
