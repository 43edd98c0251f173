// SPDX-License-Identifier: Apache-2.0
// Runs one rank's schedule against an abstract stage: the whole of pipeline execution.
#pragma once

#include "parallel/pipeline/schedule.h"

namespace tessera {

// What a schedule drives: the chunks of the model that this rank holds.
class PipelineStage {
 public:
  virtual ~PipelineStage() = default;
  virtual void forward(int chunk, int micro) = 0;
  virtual void backward_input(int chunk, int micro) = 0;
  virtual void backward_weight(int chunk, int micro) = 0;
  // Both halves, where the schedule has them side by side: the same arithmetic in the same order,
  // layer by layer, so that less is remembered.
  virtual void backward(int chunk, int micro) = 0;
};

// REQUIRES a checked plan.
void run(const Schedule& schedule, PipelineStage& stage);

}  // namespace tessera
