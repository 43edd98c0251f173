// SPDX-License-Identifier: Apache-2.0
// The collectives of a SharedBoard, each as a number of rounds: stage() what others need of me,
// then, when all have arrived, take() what I need of them. A tensor larger than a stage goes piece
// by piece; a piece has something of every rank's part, so that all reduce at the same time.
// Sums are the tree of parallel/transport/reduction_tree.h, element by element: pieces change no
// bits.
#pragma once

#include <memory>

#include "parallel/transport/shared_board.h"

namespace tessera {

class Rounds {
 public:
  virtual ~Rounds() = default;
  // round counts from the board's first, step from this collective's.
  virtual void stage(int64_t round, int64_t step) = 0;
  virtual void take(int64_t round, int64_t step) = 0;
  // Known after take(step) at the latest; equal on all ranks.
  virtual int64_t num_steps() const = 0;
  virtual Announcement announcement() const = 0;

  const char* operation = "";
  const char* tag = "";
  int64_t bytes = 0;
  bool done = false;
};

// Arguments have been checked (parallel/transport/collective_arguments.h). Tensors are kept until
// the end.
std::shared_ptr<Rounds> all_reduce_rounds(const SharedBoard& board, const Tensor& in,
                                          const Tensor& out, Reduce op);
std::shared_ptr<Rounds> reduce_scatter_rounds(const SharedBoard& board, const Tensor& in,
                                              const Cut& cut, const Tensor& out, Reduce op);
std::shared_ptr<Rounds> all_gather_rounds(const SharedBoard& board, const Tensor& in,
                                          const Cut& cut, const Tensor& out);
std::shared_ptr<Rounds> all_to_all_rounds(const SharedBoard& board, const Tensor& in,
                                          const Cut& in_cut, const Tensor& out, const Cut& out_cut);
std::shared_ptr<Rounds> broadcast_rounds(const SharedBoard& board, const Tensor& inout, int root);
std::shared_ptr<Rounds> barrier_rounds();

}  // namespace tessera
