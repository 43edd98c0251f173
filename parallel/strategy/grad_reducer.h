// SPDX-License-Identifier: Apache-2.0
// Sums gradients over data-parallel groups while backward goes on: a reduction starts as soon as a
// matrix of gradients is final on this rank, and is waited for where its result is used. All ranks
// start the same reductions in the same order, and wait for them in that order, whichever group
// each is over (dense and expert parameters have groups of their own): so no two ranks wait for
// each other. Knows nothing of norms, scaling, layers or ZeRO's stages. Not thread-safe.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "parallel/communicator.h"
#include "parallel/shard.h"

namespace tessera {

class GradReducer {
 public:
  explicit GradReducer(Stream& stream) : stream_(stream) {}

  // Sums `gradient` (R, C) over the group into its own memory: the rows that `cut` deals to this
  // rank; with `everywhere`, afterwards all rows on all ranks. REQUIRES that the caller leaves it
  // alone until wait().
  void start_in_place(Communicator& group, const Tensor& gradient, const Cut& cut, bool everywhere);

  // Sums `gradient`, which is given up, over the group and hands my rows of the sum to `take`, in
  // the order of the starts, latest in wait(). Bounds the memory that is on its way.
  void start(Communicator& group, Tensor gradient, const Cut& cut,
             std::function<void(const Tensor& mine)> take);

  void wait();  // completes everything that was started

 private:
  struct Started {
    Communicator* group = nullptr;
    std::unique_ptr<Pending> pending;
    Tensor whole;  // in place: the gradient; else empty once it was sent
    Cut cut;
    bool everywhere = false;
    Tensor mine;
    std::function<void(const Tensor&)> take;
    int64_t bytes = 0;
  };
  void finish_oldest();
  void progress();

  Stream& stream_;
  std::deque<Started> started_;
  std::deque<Started> gathers_;  // of reductions that all ranks want whole
  int64_t bytes_in_flight_ = 0;
};

}  // namespace tessera
