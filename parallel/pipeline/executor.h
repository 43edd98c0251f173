// SPDX-License-Identifier: Apache-2.0
// Runs one rank's part of a plan against an abstract stage: the whole of pipeline execution.
#pragma once

#include "kernels/base/stream.h"
#include "kernels/base/tensor.h"
#include "parallel/communicator.h"
#include "parallel/pipeline/schedule.h"

namespace tessera {

// What a plan drives: the chunks of the model that this rank holds. A tensor that is handed over
// stays unchanged until its user is done with it.
class PipelineStage {
 public:
  virtual ~PipelineStage() = default;
  // x: the activations that enter the chunk, empty for the model's first chunk. Returns what leaves
  // it, contiguous; empty after the model's last chunk.
  virtual Tensor forward(int chunk, int micro, const Tensor& x) = 0;
  // dy: the gradient of what forward returned, empty for the model's last chunk (its loss head
  // knows). Returns dL/dx, contiguous; empty for the model's first chunk.
  virtual Tensor backward_input(int chunk, int micro, const Tensor& dy) = 0;
  virtual void backward_weight(int chunk, int micro) = 0;
  // Both halves, where the schedule has them side by side: the same arithmetic in the same order,
  // layer by layer, so that less is remembered.
  virtual Tensor backward(int chunk, int micro, const Tensor& dy) = 0;
  // New memory of the shape and type of what stands between two stages, activations or gradients.
  virtual Tensor boundary(int micro) = 0;
  virtual void gather_weights(int chunk) = 0;
  virtual void release_weights(int chunk) = 0;
};

// Runs plan.ranks[rank]. `pipeline`: the group of the plan's ranks, in its order. Receives are
// posted at their action and waited for where the tensor is used; sends go on beside the
// computation and are finished when run returns. Every message of a rank has a channel of its own
// (chunk, direction, microbatch), and its tag names it ("activations of stage 2, microbatch 3").
// REQUIRES a checked plan, with messages (communicate.h) unless it has one rank. Collective over
// the group. Throws what the stage and the communicator throw.
void run(const Plan& plan, int rank, PipelineStage& stage, Stream& stream, Communicator& pipeline);

}  // namespace tessera
