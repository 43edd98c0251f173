// SPDX-License-Identifier: Apache-2.0
// Rows of tokens to the ranks that hold their experts, and back. Along the expert axis each rank
// has E / ranks experts whole; along the expert_tensor axis several ranks share each expert, its
// width cut, so they all need its rows and their outputs are summed.
//
//   dispatch   all_to_all over expert, all_gather over expert_tensor
//   combine    reduce_scatter over expert_tensor, all_to_all over expert: dispatch's conjugate, so
//              the backward pass of either is the other
//
// At an expert, rows stand in the order of the tokens: by expert rank, expert_tensor rank and row
// of whom they come from. No row is ever dropped. A rank receives at most `buffer` times the mean
// at once; what is more comes in further rounds, whose number all ranks of the two groups compute
// alike from everybody's counts. So the host has to know them, unless there is one rank: the mean
// is all it can receive, and only the experts' products ask where each of them has its rows. Not
// thread-safe.
#pragma once

#include <vector>

#include "parallel/communicator.h"

namespace tessera {

// What one rank sends and receives in one round.
struct ExpertRound {
  std::vector<Interval> sent;          // to each expert rank: of my slots, sorted by place
  Cut sent_cut = Cut::even(0, 1);      // the same, one after another
  Cut received_cut = Cut::even(0, 1);  // from each expert rank
  Cut gathered_cut = Cut::even(0, 1);  // from each expert_tensor rank
  Tensor offsets;                      // of my experts' rows, as GroupedGemm has them
  Tensor order;    // row i at the experts is row order[i] of what was gathered; empty: all in order
  Tensor inverse;  // the other way round
};
using ExpertRoutes = std::vector<ExpertRound>;

class ExpertParallel {
 public:
  ExpertParallel(Stream& stream, Communicator& expert, Communicator& expert_tensor)
      : stream_(&stream), expert_(&expert), expert_tensor_(&expert_tensor) {}

  int expert_rank() const { return expert_->rank(); }
  int expert_ranks() const { return expert_->size(); }
  Communicator& expert_tensor() const { return *expert_tensor_; }

  // offsets: of my slots by place, as sort_slots() has them; slots: their number. At least one
  // round. Collective. Waits for the offsets where the host has to know them; the dry device, where
  // nobody chose, deals the slots evenly.
  ExpertRoutes routes(const Tensor& offsets, int64_t slots, double buffer) const;
  // rows: (all I send, C), as `sent` says. Returns the rows at my experts.
  Tensor dispatch(const ExpertRound& round, const Tensor& rows, const char* tag) const;
  // rows: those at my experts, this rank's summand. Returns the sums in the order they were sent.
  Tensor combine(const ExpertRound& round, const Tensor& rows, const char* tag) const;

 private:
  bool takes_all(double buffer) const;
  Tensor counts(const Tensor& offsets, int64_t slots) const;
  Tensor all_counts(const Tensor& counts) const;

  Stream* stream_;
  Communicator* expert_;
  Communicator* expert_tensor_;
};

}  // namespace tessera
