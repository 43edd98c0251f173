// SPDX-License-Identifier: Apache-2.0
// A pipeline stage whose arithmetic is integers that depend on stage, microbatch and everything
// that came before, so that a tensor that goes astray, or is overwritten too early, shows.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "parallel/pipeline/executor.h"

namespace tessera::test {

inline int64_t fake_forward(int stage, int micro, int64_t x) {
  return (x * 31 + stage * 7 + micro) % 1000003;
}
// x: what entered the stage.
inline int64_t fake_backward(int stage, int micro, int64_t x, int64_t dy) {
  return (dy * 17 + x * 3 + stage + micro) % 1000003;
}

class FakeStage : public PipelineStage {
 public:
  FakeStage(const Plan& plan, int rank) : plan_(plan), rank_(rank) {}

  Tensor forward(int chunk, int micro, const Tensor& x) override {
    expect_whole(chunk);
    const int stage = plan_.stage(rank_, chunk);
    EXPECT_EQ(x.empty(), stage == 0);
    const int64_t entered = x.empty() ? micro : value(x);
    tapes_[{chunk, micro}] = entered;
    peak = std::max(peak, static_cast<int>(tapes_.size()));
    note("F", chunk, micro);
    const int64_t y = fake_forward(stage, micro, entered);
    if (!last(stage)) return tensor(y);
    losses[micro] = y;
    return {};
  }
  Tensor backward_input(int chunk, int micro, const Tensor& dy) override {
    note("B", chunk, micro);
    return half(chunk, micro, dy);
  }
  Tensor backward(int chunk, int micro, const Tensor& dy) override {
    note("BW", chunk, micro);
    Tensor dx = half(chunk, micro, dy);
    tapes_.erase({chunk, micro});
    return dx;
  }
  void backward_weight(int chunk, int micro) override {
    note("W", chunk, micro);
    EXPECT_EQ(tapes_.erase({chunk, micro}), 1u);
  }
  Tensor boundary(int) override { return Tensor(Device{}, DType::i64, {kSize}); }
  void gather_weights(int chunk) override { whole_[chunk] = true; }
  void release_weights(int chunk) override { whole_[chunk] = false; }

  bool gathers = false;  // whether weights are there only between gather and release
  std::string calls;     // "F0.0 BW0.0 ..."
  std::map<int, int64_t> losses, gradients;  // by micro: what left the last and the first stage
  int peak = 0;                              // tapes

 private:
  static constexpr int64_t kSize = 3000;  // more than MPI sends without its receiver

  bool last(int stage) const { return stage + 1 == plan_.num_stages(); }
  void expect_whole(int chunk) {
    EXPECT_TRUE(!gathers || whole_[chunk]) << "chunk " << chunk << " has no whole weights";
  }
  static Tensor tensor(int64_t first) {
    const Tensor made(Device{}, DType::i64, {kSize});
    for (int64_t i = 0; i < kSize; ++i) made.as<int64_t>()[i] = first + i;
    return made;
  }
  static int64_t value(const Tensor& x) {
    for (int64_t i = 1; i < kSize; ++i)
      EXPECT_EQ(x.as<int64_t>()[i], x.as<int64_t>()[0] + i) << "another tensor's elements";
    return x.as<int64_t>()[0];
  }
  Tensor half(int chunk, int micro, const Tensor& dy) {
    expect_whole(chunk);
    const int stage = plan_.stage(rank_, chunk);
    EXPECT_EQ(dy.empty(), last(stage));
    const int64_t dx = fake_backward(stage, micro, tapes_.at({chunk, micro}),
                                     dy.empty() ? losses.at(micro) : value(dy));
    if (stage > 0) return tensor(dx);
    gradients[micro] = dx;
    return {};
  }
  void note(const char* call, int chunk, int micro) {
    calls += (calls.empty() ? "" : " ") + std::string(call) + std::to_string(chunk) + "." +
             std::to_string(micro);
  }

  const Plan& plan_;
  int rank_;
  std::map<std::pair<int, int>, int64_t> tapes_;  // (chunk, micro): what entered
  std::map<int, bool> whole_;
};

// Runs `plan` as this rank of `pipeline` and expects what one process would compute.
inline void expect_runs(const Plan& plan, Communicator& pipeline, bool forward_only = false) {
  FakeStage stage(plan, pipeline.rank());
  for (const Action& action : plan.ranks[static_cast<size_t>(pipeline.rank())])
    stage.gathers = stage.gathers || action.op == Op::gather_weights;
  Stream stream(Device{});
  run(plan, pipeline.rank(), stage, stream, pipeline);
  const std::vector<StagePlace> places = places_of_stages(plan);
  for (int micro = 0; micro < plan.num_micro; ++micro) {
    std::vector<int64_t> entered = {micro};
    for (int s = 0; s < plan.num_stages(); ++s)
      entered.push_back(fake_forward(s, micro, entered.back()));
    int64_t dy = entered.back();
    if (places.back().rank == pipeline.rank()) {
      EXPECT_EQ(stage.losses[micro], dy) << "microbatch " << micro;
    }
    for (int s = plan.num_stages(); s-- > 0;)
      dy = fake_backward(s, micro, entered[static_cast<size_t>(s)], dy);
    if (places.front().rank == pipeline.rank() && !forward_only) {
      EXPECT_EQ(stage.gradients[micro], dy) << "microbatch " << micro;
    }
  }
}

}  // namespace tessera::test
