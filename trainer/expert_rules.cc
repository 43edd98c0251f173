// SPDX-License-Identifier: Apache-2.0
#include "trainer/expert_rules.h"

namespace tessera {
namespace {

std::string text(int64_t value) {
  return std::to_string(value);
}

// Whole experts to each rank, whole columns of an expert to each of its tensor ranks.
void check_sizes(const ModelOptions& model, const ParallelOptions& parallel, Problems& problems) {
  problems.require(
      model.n_routed_experts % parallel.expert == 0, "parallel.expert",
      text(parallel.expert) + " does not divide n_routed_experts " + text(model.n_routed_experts),
      ErrorKind::capacity);
  problems.require(model.moe_intermediate_size % parallel.expert_tensor == 0,
                   "parallel.expert_tensor",
                   text(parallel.expert_tensor) + " does not divide moe_intermediate_size " +
                       text(model.moe_intermediate_size),
                   ErrorKind::capacity);
}

}  // namespace

void check_expert_grid(const Recipe& recipe, int64_t data, Problems& problems) {
  const ParallelOptions& parallel = recipe.parallel;
  if (!recipe.model.has_experts()) {
    const std::string why = std::string(name_of(recipe.model.architecture)) + " has no experts";
    problems.require(parallel.expert == 1, "parallel.expert", why, ErrorKind::capacity);
    problems.require(parallel.expert_tensor == 1, "parallel.expert_tensor", why,
                     ErrorKind::capacity);
    return;
  }
  check_sizes(recipe.model, parallel, problems);
  const int64_t dense = data * parallel.context * parallel.tensor;
  const int64_t expert = parallel.expert * parallel.expert_tensor;
  problems.require(dense % expert == 0,
                   parallel.expert_tensor > 1 ? "parallel.expert_tensor" : "parallel.expert",
                   "expert " + text(parallel.expert) + " x expert_tensor " +
                       text(parallel.expert_tensor) + " = " + text(expert) +
                       " does not divide data x context x tensor = " + text(dense),
                   ErrorKind::capacity);
}

}  // namespace tessera
