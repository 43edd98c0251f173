// SPDX-License-Identifier: Apache-2.0
#include "trainer/planner.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "trainer/model/counts.h"
#include "trainer/model/mtp.h"
#include "trainer/optim/loss_scaler.h"
#include "trainer/optim/optimizer.h"
#include "trainer/step.h"
#include "trainer/timeline.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

Device dry_device(const Recipe& recipe) {
  return {Device::Kind::dry, recipe.run.device == "cuda" ? 1 : 0};
}

std::vector<Micro> microbatches(const Recipe& recipe, int count) {
  const int64_t rows = recipe.batch.micro * recipe.data.sequence_length;
  std::vector<Micro> micros(static_cast<size_t>(count));
  for (Micro& micro : micros) {
    micro.num_sequences = recipe.batch.micro;
    micro.sequence_length = recipe.data.sequence_length;
    for (Tensor* ints : {&micro.tokens, &micro.targets, &micro.positions, &micro.document_starts})
      *ints = Tensor(dry_device(recipe), DType::i32, {rows});
    if (recipe.data.attend_across_documents) micro.document_starts = {};
  }
  return micros;
}

}  // namespace

DryJob::DryJob(const Recipe& recipe, int num_ranks, int64_t sequences)
    : recipe_(recipe),
      grid_(ProcessGrid::filling(num_ranks, grid_sizes(recipe.parallel))),
      sequences_(sequences > 0 ? sequences : recipe.batch.global) {
  const int64_t round = recipe.batch.micro * grid_.size(Axis::data);
  num_micro_ = static_cast<int>(sequences_ / round);
  // Whether passes can be recorded depends on the plans of all steps of the run.
  if (recipe.run.cuda_graphs)
    plans_ = training_plans(recipe, grid_.size(Axis::data));
  else
    plans_.emplace(num_micro_, training_plan(recipe, num_micro_));
  layers_per_stage_ = deal_layers(recipe, plan().num_stages());
}

StepInputs DryJob::inputs_of_a_step(const Step& step) const {
  const LossScaler scaler(recipe_.precision, recipe_.on_failure);
  const auto choices = step.optimizer().choice(recipe_.optimizer.lr, 1);
  return {.micros = microbatches(recipe_, num_micro_),
          .sequences = sequences_,
          .targets = sequences_ * recipe_.data.sequence_length,
          .mtp_loss_weight = mtp_loss_weight(recipe_.mtp, {}),
          .choices = {choices.begin(), choices.end()},
          .loss_scale = scaler.rules(),
          .moves_router_biases = recipe_.router.balance == Balance::aux_free};
}

std::vector<int> DryJob::typical_ranks() const {
  return grid_.ranks_along(Axis::pipeline, 0);
}

PlayedRank DryJob::play(int rank) const {
  const Device device = dry_device(recipe_);
  restart_peaks(device);
  const auto calls = std::make_shared<DryCalls>();
  const Communicators comms = Communicators::dry_run(
      grid_, rank, calls, recipe_.model.kv_replicas(recipe_.parallel.tensor));
  Communicator& pipeline = comms.along(Axis::pipeline);
  PlayedRank played{.rank = rank, .coordinate = pipeline.rank()};
  for (const int stage : plan().stage_of_chunk[static_cast<size_t>(pipeline.rank())])
    played.layers += layers_per_stage_[static_cast<size_t>(stage)];

  Step step(recipe_, device, comms, plans_);
  for (const Parameter& parameter : step.store().all())
    played.parameters += parameter.shard.box.size();
  const StepInputs inputs = inputs_of_a_step(step);
  step.step(inputs);
  if (step.records_passes()) {  // what was seen in the first step is recorded in the second
    const DryCalls of_a_step = *calls;
    step.step(inputs);
    *calls = of_a_step;
  }
  played.memory = memory_use(device);
  played.calls = std::move(*calls);
  return played;
}

Simulation DryJob::simulate() const {
  return tessera::simulate(plan(), stage_times(recipe_, plan()));
}

namespace {

void add_block(const BlockWork& work, StageTimes& stage) {
  stage.forward += work.weights + work.attention;
  stage.backward_input += work.weights + 2 * work.attention;  // four products instead of two
  stage.backward_weight += work.weights;
}

}  // namespace

std::vector<StageTimes> stage_times(const Recipe& recipe, const Plan& plan) {
  const ModelOptions& model = recipe.model;
  const int64_t length = recipe.data.sequence_length;
  const double head = static_cast<double>(model.hidden_size * model.vocab_size);
  std::vector<StageTimes> times;
  int64_t layer = 0;
  for (const int64_t count : deal_layers(recipe, plan.num_stages())) {
    StageTimes stage{.forward = 0, .backward_input = 0, .backward_weight = 0};
    for (const int64_t end = layer + count; layer < end; ++layer)
      add_block(block_work(model, layer, length), stage);
    times.push_back(stage);
  }
  // Multi-token prediction is on the last stage; a head makes its gradients in forward.
  const int64_t depth = model.num_nextn_predict_layers;
  for (; layer < model.num_hidden_layers + depth; ++layer)
    add_block(block_work(model, layer, length), times.back());
  if (recipe.parallel.recompute == Recomputation::full)
    for (StageTimes& stage : times) stage.backward_input += stage.forward;
  times.back().forward += 3 * head * static_cast<double>(1 + depth);
  return times;
}

std::vector<Traffic> traffic(const DryCalls& calls) {
  std::vector<Traffic> all;
  for (const DryCall& call : calls) {
    if (call.peers.empty()) continue;
    const auto ranks = static_cast<int>(call.peers.size()) + 1;
    // "activations of stage 2, microbatch 3" and its like are one kind.
    const std::string tag = call.tag.substr(0, call.tag.find(" of stage"));
    auto one = std::find_if(all.begin(), all.end(), [&](const Traffic& t) {
      return t.group == call.group && t.operation == call.operation && t.tag == tag;
    });
    if (one == all.end()) one = all.insert(all.end(), {call.group, ranks, call.operation, tag});
    ++one->calls;
    one->bytes += call.bytes;
    const int64_t to_the_others = call.bytes * (ranks - 1) / ranks;
    if (call.operation == "send" || call.operation == "broadcast")
      one->sent += call.bytes;
    else if (call.operation == "all-reduce")
      one->sent += 2 * to_the_others;
    else if (call.operation != "receive")
      one->sent += to_the_others;
  }
  return all;
}

int64_t checkpoint_bytes(const Recipe& recipe) {
  const int64_t tensors = 1 + std::ssize(state_roles(recipe.optimizer.name));
  return tensors * size_of(accumulation_type(recipe.compute_type())) * num_parameters(recipe.model);
}

std::vector<DryJob> dry_jobs(const Recipe& recipe, int num_ranks) {
  const std::vector<int64_t> sizes = Timeline(recipe).batch_sizes();
  const ProcessGrid grid = ProcessGrid::filling(num_ranks, grid_sizes(recipe.parallel));
  const int64_t round = recipe.batch.micro * grid.size(Axis::data);
  const auto schedule_of = [&](size_t i) {
    return layout_of_step(recipe, static_cast<int>(sizes[i] / round)).schedule;
  };
  std::vector<DryJob> jobs;
  for (size_t i = 0; i < sizes.size(); ++i)
    if (i == 0 || i + 1 == sizes.size() || schedule_of(i) != schedule_of(i + 1))
      jobs.emplace_back(recipe, num_ranks, sizes[i]);
  return jobs;
}

Need largest_need(const DryJob& job) {
  Need largest;
  for (const int rank : job.typical_ranks()) {
    const Need need{rank, job.play(rank).memory};
    if (need.memory.system_bytes > largest.memory.system_bytes) largest = need;
  }
  return largest;
}

namespace {

struct Move {
  std::string keys;
  std::function<void(Recipe&)> make;
};

// From the least to the most costly in speed.
std::vector<Move> moves(const Recipe& recipe) {
  const ParallelOptions& now = recipe.parallel;
  std::vector<Move> all;
  const auto add = [&](bool possible, const std::string& keys, std::function<void(Recipe&)> make) {
    if (possible) all.push_back({keys, std::move(make)});
  };
  const auto zero = [&](int64_t stage) {
    add(now.zero < stage, "parallel.zero=" + std::to_string(stage),
        [stage](Recipe& r) { r.parallel.zero = stage; });
  };
  const auto recompute = [&](bool possible, Recomputation what) {
    add(possible, std::string("parallel.recompute=") + name_of(what),
        [what](Recipe& r) { r.parallel.recompute = what; });
  };
  const auto twice = [&](const char* axis, int64_t ParallelOptions::*size) {
    const std::string keys = axis + ("=" + std::to_string(2 * (now.*size)));
    add(true, keys + (now.data > 0 ? " parallel.data=auto" : ""), [size](Recipe& r) {
      r.parallel.*size *= 2;
      r.parallel.data = 0;
    });
  };
  zero(1);
  zero(2);
  recompute(now.recompute == Recomputation::none, Recomputation::selective);
  add(recipe.batch.micro % 2 == 0, "batch.micro=" + std::to_string(recipe.batch.micro / 2),
      [](Recipe& r) { r.batch.micro /= 2; });
  zero(3);
  recompute(now.recompute != Recomputation::full, Recomputation::full);
  twice("parallel.tensor", &ParallelOptions::tensor);
  twice("parallel.pipeline", &ParallelOptions::pipeline);
  return all;
}

// What the changed recipe needs, when it is sound and fits.
std::optional<Change> fitting(const Recipe& recipe, const std::string& keys, int num_ranks,
                              int64_t capacity) {
  if (!validate(recipe, num_ranks).empty()) return {};
  Change change{keys, {}};
  for (const DryJob& job : dry_jobs(recipe, num_ranks)) {
    for (const int rank : job.typical_ranks()) {
      const Need need{rank, job.play(rank).memory};
      if (need.memory.system_bytes > capacity) return {};
      if (need.memory.system_bytes > change.need.memory.system_bytes) change.need = need;
    }
  }
  return change;
}

}  // namespace

std::optional<Change> cheapest_change(const Recipe& recipe, int num_ranks, int64_t capacity) {
  const std::vector<Move> first = moves(recipe);
  for (const Move& move : first) {
    Recipe changed = recipe;
    move.make(changed);
    if (auto change = fitting(changed, move.keys, num_ranks, capacity)) return change;
  }
  for (const Move& move : first) {
    Recipe changed = recipe;
    move.make(changed);
    for (const Move& second : moves(changed)) {
      const auto key = [](const Move& m) { return m.keys.substr(0, m.keys.find('=')); };
      if (key(move) == key(second)) continue;
      Recipe both = changed;
      second.make(both);
      if (auto change = fitting(both, move.keys + " " + second.keys, num_ranks, capacity))
        return change;
    }
  }
  return {};
}

}  // namespace tessera
