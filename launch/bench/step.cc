// SPDX-License-Identifier: Apache-2.0
// `tessera bench step`: whole training steps of a recipe's model (a dense decoder of 124M
// parameters without one) on random tokens, each the Step of training (trainer/step.h), timed part
// by part; on one CPU or one GPU. A step has --microbatches of them, one without it, of which all
// but the last are launched as a graph where that is possible (micro_graphs.h), as in training.
// With one, how long the passes of a further one take that is launched as a graph is measured
// beside.
#include "trainer/step.h"

#include <algorithm>
#include <map>
#include <memory>

#include "kernels/base/random.h"
#include "kernels/transfer.h"
#include "launch/bench/bench.h"
#include "launch/bench/part_timer.h"
#include "launch/bench/step_report.h"
#include "launch/recipe/reader.h"
#include "trainer/model/mtp.h"
#include "trainer/planner.h"
#include "trainer/training_plan.h"

namespace tessera {
namespace {

Recipe dense_124m(int64_t sequence) {
  Recipe recipe;
  ModelOptions& model = recipe.model;
  model.vocab_size = 50304;
  model.hidden_size = 768;
  model.intermediate_size = 2048;
  model.num_hidden_layers = 12;
  model.num_attention_heads = 12;
  model.tie_word_embeddings = true;
  model.max_position_embeddings = sequence;
  return recipe;
}

// A step of the command trains with the model, the optimizer and the recompute of its recipe, on
// one rank and on random tokens.
Recipe recipe_of(const BenchCommand& command, DType dtype, Device device) {
  Recipe recipe = command.recipe.empty() ? dense_124m(command.sequence)
                                         : load_recipe(command.recipe, command.overrides, 0).recipe;
  recipe.name = "bench";
  recipe.data.train = "random";
  recipe.data.sequence_length = command.sequence;
  recipe.data.attend_across_documents = true;
  recipe.batch = {.global = command.batch * command.microbatches, .micro = command.batch};
  const Recomputation recompute = recipe.parallel.recompute;
  recipe.parallel = {};
  recipe.parallel.recompute = recompute;
  const bool graphs = recipe.run.cuda_graphs;
  recipe.run = {};
  recipe.run.steps = 1;
  recipe.run.cuda_graphs = graphs;
  if (device.kind == Device::Kind::cuda) recipe.run.device = "cuda";
  recipe.lr_schedule = {};
  recipe.model.max_position_embeddings =
      std::max(recipe.model.max_position_embeddings, command.sequence);
  recipe.precision.compute = value_named<ComputeType>(name(dtype)).value();
  recipe.precision.tf32 = false;
  return recipe;
}

Micro random_micro(Stream& stream, int64_t batch, int64_t sequence, int64_t vocab_size) {
  const int64_t rows = batch * sequence;
  const Philox philox{1, stream_named("tokens")};
  const auto token = [&](int64_t row) {
    const double draw = philox.uniform(static_cast<uint64_t>(row));
    return static_cast<int32_t>(draw * static_cast<double>(vocab_size));
  };
  std::vector<int32_t> tokens, targets, positions;
  for (int64_t row = 0; row < rows; ++row) {
    tokens.push_back(token(row));
    targets.push_back(token(row + 1));
    positions.push_back(static_cast<int32_t>(row % sequence));
  }
  Micro micro;
  micro.num_sequences = batch;
  micro.sequence_length = sequence;
  micro.tokens = uploaded(stream, tokens);
  micro.targets = uploaded(stream, targets);
  micro.positions = uploaded(stream, positions);
  return micro;
}

// Refuses a step that cannot be, and on the host one that has no room, which is found by playing it
// on a device without memory: Linux would end the process, or others, in the middle. A GPU says by
// itself what its memory is used for.
void check_step(const BenchCommand& command, const Recipe& recipe, Device device) {
  for (const RecipeProblem& problem : validate(recipe, 1))
    fail(problem.kind, "bench step: " + problem.key + ": " + problem.message);
  if (!device.is_host()) return;
  check_room("bench step: --batch " + std::to_string(command.batch) + " --sequence " +
                 std::to_string(command.sequence),
             static_cast<double>(DryJob(recipe, 1).play(0).memory.system_bytes), device);
}

// Steps on the same tokens again and again.
class StepBench {
 public:
  StepBench(const BenchCommand& command, const Recipe& recipe, Device device)
      : num_micro_(static_cast<int>(command.microbatches)),
        step_(recipe, device, comms_, plans(recipe, num_micro_)),
        timer_(step_.stream(), num_micro_),
        micro_(random_micro(step_.stream(), command.batch, command.sequence,
                            recipe.model.vocab_size)) {
    step_.initialize({});
  }

  Stream& stream() { return step_.stream(); }
  // Returns when the device has done all of it.
  void step() { timed_step(num_micro_, timer_); }
  void forget() { timer_.forget(); }
  const std::vector<PartTimer::Part>& parts() const { return timer_.parts(); }

  // Times both passes of a microbatch that is launched as a graph, by the device's clock. Empty
  // where graphs are not possible or are in step() itself.
  std::vector<double> seconds_of_graphs(int rounds) {
    std::vector<double> seconds;
    if (num_micro_ > 1 || !step_.records_passes()) return seconds;
    constexpr int kWarmUp = 2;  // one step that queues kernel by kernel, one that records
    PartTimer timer(stream(), kWithGraph);
    for (int round = -kWarmUp; round < rounds; ++round) {
      timed_step(kWithGraph, timer);
      if (round < 0) timer.forget();
    }
    for (const PartTimer::Part& part : timer.parts())
      if (part.name == PartTimer::kBeforeTheLast) seconds = part.seconds;
    return seconds;
  }

 private:
  static constexpr int kWithGraph = 2;  // the least number of microbatches of which one is a graph

  static std::map<int, Plan> plans(const Recipe& recipe, int num_micro) {
    std::map<int, Plan> plans;
    for (const int count : {num_micro, kWithGraph})
      plans.emplace(count, training_plan(recipe, count));
    return plans;
  }
  void timed_step(int num_micro, PartTimer& timer) {
    timer.begin_step();
    const int place = step_.step(inputs(num_micro), timer);
    stream().synchronize();
    timer.end_step();
    updates_ += step_.numbers().read(place).applied() ? 1 : 0;
  }
  StepInputs inputs(int num_micro) const {
    constexpr double kLearningRate = 1e-4;
    const Recipe& recipe = step_.recipe();
    const auto choice = step_.optimizer().choice(kLearningRate, updates_ + 1);
    const int64_t sequences = num_micro * recipe.batch.micro;
    return {.micros = std::vector<Micro>(static_cast<size_t>(num_micro), micro_),
            .number = updates_ + 1,
            .sequences = sequences,
            .targets = sequences * recipe.data.sequence_length,
            .mtp_loss_weight = mtp_loss_weight(recipe.mtp, {}),
            .updates_known = updates_,
            .choices = {choice.begin(), choice.end()}};
  }

  Communicators comms_;
  int num_micro_;
  Step step_;
  PartTimer timer_;
  Micro micro_;
  int64_t updates_ = 0;
};

std::vector<std::pair<std::string, Spread>> spreads(const std::vector<PartTimer::Part>& parts) {
  std::vector<std::pair<std::string, Spread>> all;
  for (const PartTimer::Part& part : parts) all.emplace_back(part.name, spread_of(part.seconds));
  return all;
}

}  // namespace

int bench_step(const BenchCommand& command, DType dtype, Device device) {
  // The first step queues kernel by kernel; with several microbatches the second one records them.
  const int warm_up = command.microbatches > 1 ? 2 : 1;
  const Recipe recipe = recipe_of(command, dtype, device);
  check_step(command, recipe, device);
  StepBench bench(command, recipe, device);
  Limit peak = flops_limit(device, dtype);
  for (int i = 0; i < warm_up; ++i) bench.step();
  bench.forget();
  const int64_t allocations = memory_use(device).system_allocations;
  std::vector<double> seconds;
  for (int i = 0; i < command.rounds; ++i)
    seconds.push_back(seconds_of(bench.stream(), [&] { bench.step(); }));
  const MemoryUse memory = memory_use(device);
  const std::vector<double> graph_seconds = bench.seconds_of_graphs(command.rounds);
  report_step(command, {.model = recipe.model,
                        .device = device,
                        .step = spread_of(seconds),
                        .parts = spreads(bench.parts()),
                        .graph_seconds = graph_seconds,
                        .memory = memory,
                        .new_allocations = memory.system_allocations - allocations,
                        .peak_flops = peak.value(),
                        .peak_words = peak.words()});
  return 0;
}

}  // namespace tessera
