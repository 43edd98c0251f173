// SPDX-License-Identifier: Apache-2.0
#include "trainer/training_plan.h"

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>

#include "parallel/pipeline/communicate.h"
#include "parallel/pipeline/generators.h"
#include "parallel/shard.h"
#include "trainer/timeline.h"

namespace tessera {
namespace {

constexpr std::string_view kFile = "file:";

Plan parse_file(const std::string& path) {
  std::ifstream file(path);
  check(file.good(), ErrorKind::usage, "parallel.schedule: cannot read", path);
  std::ostringstream text;
  text << file.rdbuf();
  return parse_plan(text.str());
}

// Whether a plan can have so many microbatches; that of a file has its own number.
bool can_have(const ParallelOptions& parallel, int num_micro) {
  if (parallel.schedule.starts_with(kFile))
    return parse_file(parallel.schedule.substr(kFile.size())).num_micro == num_micro;
  return allows(parallel.schedule, static_cast<int>(parallel.pipeline), num_micro);
}

Plan read_plan(const ParallelOptions& parallel, int num_micro) {
  const std::string path = parallel.schedule.substr(kFile.size());
  Plan plan = parse_file(path);
  check(plan.num_ranks() == parallel.pipeline && plan.num_micro == num_micro, ErrorKind::usage,
        path, "is a plan for", plan.num_ranks(), "ranks and", plan.num_micro,
        "microbatches; the recipe has", parallel.pipeline, "and", num_micro);
  check_plan(plan, {.blame = ErrorKind::usage});
  return plan;
}

}  // namespace

GridSizes grid_sizes(const ParallelOptions& parallel) {
  GridSizes sizes;
  sizes.tensor = static_cast<int>(parallel.tensor);
  sizes.pipeline = static_cast<int>(parallel.pipeline);
  sizes.context = static_cast<int>(parallel.context);
  sizes.expert = static_cast<int>(parallel.expert);
  sizes.expert_tensor = static_cast<int>(parallel.expert_tensor);
  return sizes;
}

int ranks_of(const ParallelOptions& parallel) {
  GridSizes sizes = grid_sizes(parallel);
  sizes.data = static_cast<int>(std::max<int64_t>(1, parallel.data));
  return ProcessGrid(sizes).num_ranks();
}

Plan compute_plan(const ParallelOptions& parallel, int num_micro) {
  if (parallel.schedule.starts_with(kFile)) return read_plan(parallel, num_micro);
  return make_plan(parallel.schedule, static_cast<int>(parallel.pipeline),
                   static_cast<int>(parallel.chunks), num_micro);
}

ParallelOptions layout_of_step(const Recipe& recipe, int num_micro) {
  ParallelOptions layout = recipe.parallel;
  const std::string& other = recipe.batch.ramp.schedule;
  if (!other.empty() && !can_have(layout, num_micro)) layout.schedule = other;
  return layout;
}

Plan training_plan(const Recipe& recipe, int num_micro) {
  Plan plan = compute_plan(layout_of_step(recipe, num_micro), num_micro);
  if (recipe.parallel.zero == 3) plan = with_weight_gathers(plan);
  plan = with_messages(plan);
  check_plan(plan);
  return plan;
}

std::map<int, Plan> training_plans(const Recipe& recipe, int data_ranks) {
  std::map<int, Plan> plans;
  for (const int64_t sequences : Timeline(recipe).batch_sizes()) {
    const int num_micro = static_cast<int>(sequences / (recipe.batch.micro * data_ranks));
    plans.emplace(num_micro, training_plan(recipe, num_micro));
  }
  return plans;
}

Plan evaluation_plan(const ParallelOptions& parallel, const Plan& training, int num_micro) {
  Plan plan = forward_plan(training.stage_of_chunk, num_micro);
  if (parallel.zero == 3) plan = with_weight_gathers(plan);
  check_plan(plan, {.forward_only = true});
  return plan;
}

std::vector<int64_t> deal_layers(const Recipe& recipe, int num_stages) {
  const std::vector<int64_t>& listed = recipe.parallel.layers_per_stage;
  const int64_t layers = recipe.model.num_hidden_layers;
  if (!listed.empty()) {
    check(static_cast<int>(listed.size()) == num_stages &&
              std::accumulate(listed.begin(), listed.end(), int64_t{0}) == layers,
          ErrorKind::capacity, "parallel.layers_per_stage wants", num_stages,
          "numbers that add up to num_hidden_layers", layers);
    return listed;
  }
  // Blocks of multi-token prediction are the last stage's, beside its share of the others.
  const int64_t depth = recipe.model.num_nextn_predict_layers;
  const int last = num_stages - 1;
  const int64_t of_last =
      last == 0 ? layers
                : std::max<int64_t>(0, even_part(layers + depth, last, num_stages).extent - depth);
  std::vector<int64_t> dealt;
  for (int stage = 0; stage < last; ++stage)
    dealt.push_back(even_part(layers - of_last, stage, last).extent);
  dealt.push_back(of_last);
  return dealt;
}

StageOptions stage_options(const Recipe& recipe, int64_t positions) {
  return {.model = recipe.model,
          .router = recipe.router,
          .recomputation = recipe.parallel.recompute,
          .decay_embeddings = recipe.optimizer.decay_embeddings,
          .positions = positions};
}

StagePlacement placement_of(const Recipe& recipe, const Plan& plan, int coordinate) {
  return {.stage_of_chunk = plan.stage_of_chunk[static_cast<size_t>(coordinate)],
          .num_stages = plan.num_stages(),
          .layers_per_stage = deal_layers(recipe, plan.num_stages())};
}

}  // namespace tessera
