// SPDX-License-Identifier: Apache-2.0
#include "parallel/pipeline/executor.h"

namespace tessera {

void run(const Schedule& schedule, PipelineStage& stage) {
  for (size_t i = 0; i < schedule.size(); ++i) {
    const Action& action = schedule[i];
    switch (action.op) {
      case Op::forward: stage.forward(action.chunk, action.micro); break;
      case Op::backward_input: {
        const Action weight{Op::backward_weight, action.chunk, action.micro};
        if (i + 1 < schedule.size() && schedule[i + 1] == weight) {
          stage.backward(action.chunk, action.micro);
          ++i;
        } else {
          stage.backward_input(action.chunk, action.micro);
        }
        break;
      }
      case Op::backward_weight: stage.backward_weight(action.chunk, action.micro); break;
    }
  }
}

}  // namespace tessera
