// SPDX-License-Identifier: Apache-2.0
#include "trainer/recipe.h"

#include <algorithm>
#include <cmath>

#include "trainer/batch_rules.h"
#include "trainer/expert_rules.h"
#include "trainer/model_rules.h"
#include "trainer/schedule_rules.h"
#include "trainer/size_rules.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

// What the tensor axis asks of the model's sizes.
void check_tensor(const Recipe& recipe, Problems& problems) {
  const ModelOptions& model = recipe.model;
  const int64_t ranks = recipe.parallel.tensor, kv = model.kv_heads();
  const auto fits = [&](bool good, const std::string& why) {
    problems.require(good, "parallel.tensor", std::to_string(ranks) + " " + why,
                     ErrorKind::capacity);
  };
  fits(model.num_attention_heads % ranks == 0,
       "does not divide num_attention_heads " + std::to_string(model.num_attention_heads));
  fits(kv > 0 && (kv % ranks == 0 || ranks % kv == 0),
       "neither divides nor is a multiple of num_key_value_heads " + std::to_string(kv));
  fits(model.vocab_size >= ranks && model.intermediate_size >= ranks,
       "is more than vocab_size or intermediate_size have rows");
  fits(recipe.batch.micro * recipe.data.sequence_length >= ranks,
       "is more than a microbatch has tokens");
}

// "tensor 2 pipeline 2 data 4", and the sizes of the expert grid where there is one.
std::string in_words(const ParallelOptions& layout, bool experts) {
  std::string text = "tensor " + std::to_string(layout.tensor) + " pipeline " +
                     std::to_string(layout.pipeline) + " data " + std::to_string(layout.data);
  if (experts) text += " expert " + std::to_string(layout.expert);
  if (experts && layout.expert_tensor > 1)
    text += " expert_tensor " + std::to_string(layout.expert_tensor);
  return text;
}

// "\n  legal with 16 ranks: tensor 2 pipeline 2 data 4 | ...", or nothing.
std::string legal_alternatives(const Recipe& recipe, int num_ranks) {
  constexpr size_t kMost = 5;
  std::string text;
  for (const ParallelOptions& layout : legal_layouts(recipe, num_ranks, kMost))
    text += (text.empty() ? "\n  legal with " + std::to_string(num_ranks) + " ranks: " : " | ") +
            in_words(layout, recipe.model.has_experts());
  return text;
}

void check_layout(const Recipe& recipe, int num_ranks, Problems& problems) {
  const ParallelOptions& parallel = recipe.parallel;
  const size_t before = problems.found.size();
  problems.require(parallel.data >= 0, "parallel.data", "must not be negative");
  problems.positive(parallel.tensor, "parallel.tensor");
  problems.positive(parallel.pipeline, "parallel.pipeline");
  problems.require(parallel.chunks >= 0, "parallel.chunks", "must not be negative");
  problems.only(parallel.context == 1, "parallel.context", "this version does not cut sequences");
  problems.positive(parallel.expert, "parallel.expert");
  problems.positive(parallel.expert_tensor, "parallel.expert_tensor");
  problems.require(parallel.zero >= 0 && parallel.zero <= 3, "parallel.zero",
                   "must be 0, 1, 2 or 3, got " + std::to_string(parallel.zero));
  problems.positive(recipe.batch.global, "batch.global");
  problems.positive(recipe.batch.micro, "batch.micro");
  if (problems.found.size() > before || recipe.model.num_attention_heads <= 0) return;
  if (parallel.tensor > 1) check_tensor(recipe, problems);
  if (num_ranks == 0) {
    check_expert_grid(recipe, 0, problems);
    return;
  }
  const int64_t per_pipeline = parallel.tensor * parallel.pipeline;
  GridSizes dense = grid_sizes(parallel);
  dense.expert = dense.expert_tensor = 1;
  int64_t data = 0;
  try {
    data = ProcessGrid::filling(num_ranks, dense).size(Axis::data);
  } catch (const Error& error) {
    std::string message = error.what();
    if (message.starts_with("parallel: ")) message.erase(0, message.find(' ') + 1);
    problems.require(false, "parallel", message, ErrorKind::capacity);
    return;
  }
  check_expert_grid(recipe, data, problems);
  if (problems.found.size() > before) return;
  problems.require(parallel.data == 0 || parallel.data == data, "parallel.data",
                   std::to_string(parallel.data * per_pipeline) +
                       " ranks were asked for, the job has " + std::to_string(num_ranks) +
                       ": tessera launch RECIPE -n " +
                       std::to_string(parallel.data * per_pipeline) + ", or parallel.data=auto",
                   ErrorKind::capacity);
  check_batches(recipe, data, problems);
}

void check_precision(const Recipe& recipe, Problems& problems) {
  const PrecisionOptions& precision = recipe.precision;
  problems.require(!precision.tf32 || precision.compute == ComputeType::f32, "precision.tf32",
                   "rounds products of f32, but precision.compute is " +
                       std::string(name_of(precision.compute)) + ": set one or the other");
  const LossScalingOptions& scaling = precision.loss_scaling;
  problems.require(scaling.initial > 0, "precision.loss_scaling.initial", "must be above 0");
  problems.require(scaling.min > 0, "precision.loss_scaling.min", "must be above 0");
  problems.positive(scaling.growth_interval, "precision.loss_scaling.growth_interval");
  problems.positive(scaling.hysteresis, "precision.loss_scaling.hysteresis");
}

void check_optimizer(const Recipe& recipe, Problems& problems) {
  const OptimizerOptions& optimizer = recipe.optimizer;
  problems.require(optimizer.lr > 0, "optimizer.lr", "must be above 0");
  problems.require(optimizer.betas.size() == 2, "optimizer.betas", "wants two numbers");
  for (const double beta : optimizer.betas)
    problems.require(beta >= 0 && beta < 1, "optimizer.betas", "must be in [0, 1)");
  problems.require(optimizer.eps > 0, "optimizer.eps", "must be above 0");
  problems.require(optimizer.weight_decay >= 0, "optimizer.weight_decay", "must not be negative");
  problems.require(optimizer.grad_clip >= 0, "optimizer.grad_clip", "must not be negative");
}

}  // namespace

DType Recipe::compute_type() const {
  if (run.device == "reference") return DType::f64;
  return dtype_of(precision.compute);
}

std::vector<RecipeProblem> validate(const Recipe& recipe, int num_ranks) {
  Problems problems;
  problems.require(recipe.version == 1, "recipe",
                   "format version must be 1, got " + std::to_string(recipe.version));
  problems.require(!recipe.name.empty(), "name", "is missing");
  if (!check_sizes(recipe, problems)) return problems.found;
  check_model(recipe, problems);
  problems.require(!recipe.data.train.empty() || !recipe.data.blend.empty(), "data.train",
                   "is missing: a PREFIX written by tessera data prepare");
  problems.require(recipe.data.train.empty() || recipe.data.blend.empty(), "data.blend",
                   "give data.train or data.blend, not both");
  for (const BlendSource& source : recipe.data.blend)
    problems.require(source.weight > 0, "data.blend",
                     "weight of " + source.path + " must be above 0");
  problems.positive(recipe.data.sequence_length, "data.sequence_length");
  problems.require(recipe.model.max_position_embeddings == 0 ||
                       recipe.model.max_position_embeddings >= recipe.data.sequence_length,
                   "model.max_position_embeddings", "is below data.sequence_length");
  check_layout(recipe, num_ranks, problems);
  for (RecipeProblem& problem : problems.found) {
    if (num_ranks == 0) break;
    if (problem.key != "parallel" && !problem.key.starts_with("parallel.expert")) continue;
    problem.message += legal_alternatives(recipe, num_ranks);
    break;
  }
  check_precision(recipe, problems);
  check_optimizer(recipe, problems);
  check_schedules(recipe, problems);
  problems.positive(recipe.run.log_every, "run.log_every");
  const auto not_negative = [&](bool good, const char* key) {
    problems.require(good, key, "must not be negative");
  };
  not_negative(recipe.run.eval_every >= 0, "run.eval_every");
  not_negative(recipe.run.eval_batches >= 0, "run.eval_batches");
  not_negative(recipe.checkpoint.every_steps >= 0 && recipe.checkpoint.every_seconds >= 0,
               "checkpoint.every");
  not_negative(recipe.checkpoint.keep.every >= 0, "checkpoint.keep.every");
  not_negative(recipe.on_failure.max_skips >= 0, "on_failure.max_skips");
  not_negative(recipe.on_failure.hang_timeout_seconds >= 0, "on_failure.hang_timeout");
  not_negative(recipe.on_failure.start_timeout_seconds >= 0, "on_failure.start_timeout");
  not_negative(recipe.on_failure.save_timeout_seconds >= 0, "on_failure.save_timeout");
  problems.one_of(recipe.run.device, "run.device", {"auto", "cpu", "reference", "cuda"});
  problems.require(
      recipe.profile.first_step >= 0 && recipe.profile.first_step <= recipe.profile.last_step,
      "profile.steps", "wants two steps in order, e.g. 10-12");
  problems.positive(recipe.checkpoint.max_failures, "checkpoint.max_failures");
  problems.positive(recipe.checkpoint.keep.last, "checkpoint.keep.last");
  return problems.found;
}

namespace {

std::vector<int64_t> divisors_of(int64_t number) {
  std::vector<int64_t> divisors;
  for (int64_t d = 1; d * d <= number; ++d) {
    if (number % d != 0) continue;
    divisors.push_back(d);
    if (d * d != number) divisors.push_back(number / d);
  }
  std::sort(divisors.begin(), divisors.end());
  return divisors;
}

// The layout with every expert grid that its ranks can have.
void add_expert_grids(const ModelOptions& model, ParallelOptions layout,
                      std::vector<ParallelOptions>& candidates) {
  const int64_t ranks = layout.data * layout.context * layout.tensor;
  for (const int64_t expert : divisors_of(ranks))
    for (const int64_t expert_tensor : divisors_of(ranks / expert)) {
      if (!model.has_experts() && expert * expert_tensor > 1) return;
      layout.expert = expert;
      layout.expert_tensor = expert_tensor;
      candidates.push_back(layout);
    }
}

}  // namespace

std::vector<ParallelOptions> legal_layouts(const Recipe& recipe, int num_ranks, size_t most) {
  const auto doublings = [](int64_t a, int64_t b) {
    return std::abs(std::log2(static_cast<double>(a)) - std::log2(static_cast<double>(b)));
  };
  const ParallelOptions& wanted = recipe.parallel;
  const auto distance = [&](const ParallelOptions& layout) {
    return doublings(layout.tensor, wanted.tensor) + doublings(layout.pipeline, wanted.pipeline) +
           doublings(layout.expert, wanted.expert) +
           doublings(layout.expert_tensor, wanted.expert_tensor);
  };
  std::vector<ParallelOptions> candidates;
  for (const int64_t tensor : divisors_of(num_ranks))
    for (const int64_t pipeline : divisors_of(num_ranks / tensor)) {
      if (pipeline > recipe.model.num_hidden_layers) break;
      ParallelOptions layout = wanted;
      layout.tensor = tensor;
      layout.pipeline = pipeline;
      layout.data = num_ranks / (tensor * pipeline);
      add_expert_grids(recipe.model, layout, candidates);
    }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
  std::vector<ParallelOptions> legal;
  for (const ParallelOptions& layout : candidates) {
    if (legal.size() == most) break;
    Recipe changed = recipe;
    changed.parallel = layout;
    Problems problems;
    check_layout(changed, num_ranks, problems);
    if (problems.found.empty()) legal.push_back(layout);
  }
  return legal;
}

}  // namespace tessera
