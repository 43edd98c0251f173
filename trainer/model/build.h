// SPDX-License-Identifier: Apache-2.0
// Options + communicators -> the layers of this rank: the only place that decides which layer goes
// where. Declares parameters in `context.store`; the caller then allocates them.
#pragma once

#include <memory>

#include "trainer/model/options.h"
#include "trainer/model/stage.h"

namespace tessera {

// Which of the model's stages this rank's chunks are (Plan::stage_of_chunk of its coordinate).
struct StagePlacement {
  std::vector<int> stage_of_chunk = {0};
  int num_stages = 1;
  std::vector<int64_t> layers_per_stage;  // transformer blocks; see deal_layers()
};

std::unique_ptr<Stage> build_stage(LayerContext context, const StageOptions& options,
                                   const StagePlacement& placement);
// The whole model as one chunk.
std::unique_ptr<Stage> build_stage(LayerContext context, const StageOptions& options);

}  // namespace tessera
