// SPDX-License-Identifier: Apache-2.0
// `tessera bench step`: whole training steps of a recipe's model (a dense decoder of 124M
// parameters without one) on random tokens, each the Step of training (trainer/step.h), timed part
// by part; on one CPU or one GPU. A step has --microbatches of them, one without it, of which all
// but the last are launched as a graph where that is possible (micro_graphs.h), as in training.
// With one, how long the passes of a further one take that is launched as a graph is measured
// beside.
#include "trainer/step.h"

#include <cmath>
#include <cstdio>
#include <memory>

#include <nlohmann/json.hpp>

#include "kernels/base/random.h"
#include "kernels/cpu_path.h"
#include "kernels/transfer.h"
#include "launch/bench/bench.h"
#include "launch/job/device_choice.h"
#include "launch/recipe/reader.h"
#include "launch/report/format.h"
#include "trainer/model/counts.h"
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
Recipe recipe_of(const BenchCommand& command, Device device) {
  Recipe recipe = command.recipe.empty() ? dense_124m(command.sequence)
                                         : load_recipe(command.recipe, command.overrides, 0).recipe;
  recipe.name = "bench";
  recipe.data.train = "random";
  recipe.data.sequence_length = command.sequence;
  recipe.data.attend_across_documents = true;
  recipe.batch = {.global = command.batch * command.microbatches, .micro = command.batch};
  const std::string recompute = recipe.parallel.recompute;
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
  recipe.precision.compute = command.dtype == "tf32" ? "f32" : command.dtype;
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

// Times the parts of a step by the device's clock, since the host may be ahead of it. Of several
// microbatches, those before the last are one part: a graph has both of their passes.
class PartTimer : public StepProbe, public PipelineStage {
 public:
  struct Part {
    std::string name;
    Event start, end;
    std::vector<double> seconds = {};
  };

  static constexpr const char* kBeforeTheLast = "microbatches before the last";

  PartTimer(Stream& stream, int num_micro) : stream_(stream), num_micro_(num_micro) {}
  const std::vector<Part>& parts() const { return parts_; }
  void forget() { parts_.clear(); }
  void begin_step() { next_ = 0; }
  void end_step() {
    for (Part& part : parts_)
      part.seconds.push_back(part.end.milliseconds_since(part.start) * kSecond);
  }

  void around(StepEvent event, const std::function<void()>& work) override {
    const char* const part = part_of(event);
    if (part == nullptr) return work();
    start(part);
    work();
    end();
  }
  PipelineStage& passes(PipelineStage& own) override {
    own_ = &own;
    return *this;
  }

  Tensor forward(int chunk, int micro, const Tensor& x) override {
    if (micro + 1 == num_micro_) {
      if (micro > 0) end();
      start("forward, loss head");
    } else if (micro == 0) {
      start(kBeforeTheLast);
    }
    Tensor y = own_->forward(chunk, micro, x);
    if (micro + 1 == num_micro_) end();
    return y;
  }
  Tensor backward(int chunk, int micro, const Tensor& dy) override {
    const bool last = micro + 1 == num_micro_;
    if (last) start("backward");
    Tensor dx = own_->backward(chunk, micro, dy);
    if (last) end();
    return dx;
  }
  Tensor backward_input(int chunk, int micro, const Tensor& dy) override {
    return own_->backward_input(chunk, micro, dy);
  }
  void backward_weight(int chunk, int micro) override { own_->backward_weight(chunk, micro); }
  Tensor boundary(int micro) override { return own_->boundary(micro); }
  void gather_weights(int chunk) override { own_->gather_weights(chunk); }
  void release_weights(int chunk) override { own_->release_weights(chunk); }

 private:
  static constexpr double kSecond = 1e-3;  // of a millisecond

  // Null: an event that does next to nothing on one rank, or has parts of its own.
  static const char* part_of(StepEvent event) {
    switch (event) {
      case StepEvent::zero_gradients: return "zero gradients";
      case StepEvent::measure: return "gradient norm";
      case StepEvent::update_weights: return "optimizer";
      default: return nullptr;
    }
  }
  void start(const char* name) {
    const Device device = stream_.device();
    if (next_ == parts_.size())
      parts_.push_back({name, Event(device, Timing::on), Event(device, Timing::on)});
    parts_[next_].start.record(stream_);
  }
  void end() { parts_[next_++].end.record(stream_); }

  Stream& stream_;
  int num_micro_;
  PipelineStage* own_ = nullptr;
  std::vector<Part> parts_;
  size_t next_ = 0;
};

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

std::string span(const Spread& spread, double factor, int decimals) {
  return fixed(spread.median * factor, decimals) + " [" + fixed(spread.least * factor, decimals) +
         " .. " + fixed(spread.most * factor, decimals) + "]";
}

}  // namespace

int bench_step(const BenchCommand& command, DType dtype, Device device) {
  // The first step queues kernel by kernel; with several microbatches the second one records them.
  const int warm_up = command.microbatches > 1 ? 2 : 1;
  constexpr double kMilli = 1e3, kGiga = 1e-9;
  const Recipe recipe = recipe_of(command, device);
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
  const int64_t new_allocations = memory.system_allocations - allocations;
  const std::vector<double> graph_seconds = bench.seconds_of_graphs(command.rounds);
  const double limit = peak.value();

  const Spread time = spread_of(seconds);
  const auto tokens = static_cast<double>(command.batch * command.sequence * command.microbatches);
  const double flops = tokens * training_flops_per_token(recipe.model, command.sequence);
  const double share = limit > 0 ? 100 * flops / time.median / limit : 0;
  nlohmann::ordered_json json = {{"benchmark", "step"},
                                 {"dtype", command.dtype},
                                 {"device", describe(device)},
                                 {"path", name(cpu_path())},
                                 {"threads", cpu_threads()},
                                 {"parameters", num_parameters(recipe.model)},
                                 {"batch", command.batch},
                                 {"sequence", command.sequence},
                                 {"microbatches", command.microbatches},
                                 {"tokens_per_second", tokens / time.median},
                                 {"tokens_per_second_least", tokens / time.most},
                                 {"tokens_per_second_most", tokens / time.least},
                                 {"gflops", flops / time.median * kGiga},
                                 {"system_allocations_in_steady_steps", new_allocations},
                                 {"peak_bytes", memory.peak_total}};
  const std::map<std::string, double> earlier = earlier_medians(command);
  if (!earlier.empty()) json["ratio"] = tokens / time.median / earlier.at("step");
  if (limit > 0) {
    json["peak_gflops"] = limit * kGiga;
    json["percent_of_peak"] = share;
  }
  std::vector<std::vector<std::string>> rows = {{"part", "ms", "share %"}};
  for (const PartTimer::Part& part : bench.parts()) {
    const Spread spread = spread_of(part.seconds);
    rows.push_back(
        {part.name, span(spread, kMilli, 1), fixed(100 * spread.median / time.median, 1)});
    json["ms"][part.name] = spread.median * kMilli;
  }
  rows.push_back({"step", span(time, kMilli, 1), "100"});
  if (!graph_seconds.empty()) json["graph_ms"] = spread_of(graph_seconds).median * kMilli;
  for (int i = 0; i < kNumMemoryClasses; ++i)
    json["peak_bytes_by_class"][name(static_cast<MemoryClass>(i))] =
        memory.peak[static_cast<size_t>(i)];
  if (command.json) {
    std::printf("%s\n", json.dump().c_str());
    return 0;
  }
  const std::string times =
      command.microbatches > 1 ? std::to_string(command.microbatches) + " x " : std::string();
  std::printf("%s parameters, %sB=%lld T=%lld, %s, %s, median of %d steps\n",
              with_prefix(static_cast<double>(num_parameters(recipe.model))).c_str(), times.c_str(),
              static_cast<long long>(command.batch), static_cast<long long>(command.sequence),
              command.dtype.c_str(), describe(device).c_str(), command.rounds);
  std::fputs(table(rows).c_str(), stdout);
  if (!graph_seconds.empty())
    std::printf("forward and backward launched as one graph: %s ms\n",
                span(spread_of(graph_seconds), kMilli, 1).c_str());
  std::printf("system allocations in the steady steps: %lld\npeak memory:",
              static_cast<long long>(new_allocations));
  for (int i = 0; i < kNumMemoryClasses; ++i)
    std::printf(" %s %s,", name(static_cast<MemoryClass>(i)),
                as_bytes(static_cast<double>(memory.peak[static_cast<size_t>(i)])).c_str());
  std::printf(" together %s\n", as_bytes(static_cast<double>(memory.peak_total)).c_str());
  std::printf("%.1f tokens/s [%.1f .. %.1f], %.1f GFLOP/s", tokens / time.median,
              tokens / time.most, tokens / time.least, flops / time.median * kGiga);
  if (limit > 0)
    std::printf(" = %.1f %% of the %s of %.0f\n", share, peak.words().c_str(), limit * kGiga);
  else
    std::printf(" (%s: not known for %s)\n", peak.words().c_str(), command.dtype.c_str());
  if (!earlier.empty())
    std::printf("%.3f of the %.1f tokens/s in %s\n", json["ratio"].get<double>(),
                earlier.at("step"), command.compare.c_str());
  return 0;
}

}  // namespace tessera
