// SPDX-License-Identifier: Apache-2.0
#include "trainer/rank_layout.h"

#include "trainer/optim/optimizer.h"
#include "trainer/training_plan.h"

namespace tessera {

ZeroSharding zero_sharding(const Recipe& recipe, const Communicators& comms) {
  const Communicator& dense = comms.data();
  const Communicator& expert = comms.along(Axis::expert_data);
  return {.stage = static_cast<int>(recipe.parallel.zero),
          .rank = dense.rank(),
          .ranks = dense.size(),
          .layout_free = recipe.run.determinism == Determinism::layout_free,
          .expert_rank = expert.rank(),
          .expert_ranks = expert.size(),
          .whole_stacks = optimizer_kind(recipe.optimizer.name).dealing == Dealing::whole_matrices};
}

std::unique_ptr<Stage> lay_out_rank(const LayerContext& context, const Recipe& recipe,
                                    const Plan& plan, int64_t positions) {
  const int coordinate = context.comms.along(Axis::pipeline).rank();
  auto stage = build_stage(context, stage_options(recipe, positions),
                           placement_of(recipe, plan, coordinate));
  context.store.lay_out(recipe.compute_type(), zero_sharding(recipe, context.comms));
  return stage;
}

}  // namespace tessera
