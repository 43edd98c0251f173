// SPDX-License-Identifier: Apache-2.0
// The gradients of a step, from the layers that add to them to the sums that the optimizer reads:
// over microbatches, over the uses of a tied weight, over the data ranks, over ranks that hold the
// same box. Which of these comes first is what makes ZeRO's stages differ (docs/numerics.md):
//
//   stages 0, 1   microbatches, uses, both ends of the pipeline, data ranks, replicas
//   stages 2, 3   data ranks (inside each microbatch), microbatches, uses, both ends, replicas
//   layout_free   as stages 2 and 3, the microbatches as a tree (micro_sum.h)
//
// "Data ranks" are those of the parameter's group: of routed experts, the ranks along expert_data.
//
// Each sum has one order, whatever the schedule. Not thread-safe.
#pragma once

#include "parallel/communicators.h"
#include "parallel/strategy/grad_reducer.h"
#include "trainer/model/micro_sum.h"
#include "trainer/model/parameter.h"

namespace tessera {

class Gradients {
 public:
  // After store.allocate().
  Gradients(Stream& stream, ParameterStore& store, const Communicators& comms);

  // watch_overflow: look at every gradient of this rank before it is summed.
  void begin_step(bool watch_overflow);
  // A layer has added one microbatch's gradient of `weights`; last: no microbatch follows.
  void added(const std::vector<Stack>& weights, bool last);
  void finish();  // afterwards store.grad(piece) is the sum of everything

  // What was seen while watching, (slots) i64: how many elements of a slot's gradients on this rank
  // were not finite before they were summed.
  const Tensor& overflows() const { return overflows_; }
  // The first parameter, in the order of the backward pass, of which that is so; -1: none.
  // overflows: those of a step, in the host's memory.
  int first_overflow(const Tensor& overflows) const;

 private:
  Communicator& data_of(int unit) const { return data_ranks(comms_, store_.group(unit)); }
  void look_at(int slot, const Tensor& gradient);
  void uses_done(int unit);
  void start_whole(int unit);
  Tensor final_grad(int slot) const;
  void gather_everywhere();
  void fold_uses(int unit);
  void sum_both_ends(int unit);
  void sum_replicas(Replication which, Communicator& group);

  Stream& stream_;
  ParameterStore& store_;
  const Communicators& comms_;
  GradReducer reducer_;
  std::vector<MicroSum> sums_;     // by slot, where each microbatch is summed
  std::vector<int> num_uses_;      // of each unit, on this rank
  std::vector<int> uses_to_come_;  // this step
  bool watch_overflow_ = false;
  Tensor overflows_;
  std::vector<int> looked_at_;  // slots, as the backward pass came to them
};

}  // namespace tessera
